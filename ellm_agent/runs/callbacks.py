"""SB3 callbacks of a run: logs, evaluation, checkpoints, progress."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import psutil
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from ellm_agent.config import files as config_files
from ellm_agent.errors import Stopped, UserError
from ellm_agent.evaluation.recording import Recording, record_episodes, summarise
from ellm_agent.evaluation.scores import RECENT, SuccessRates
from ellm_agent.records import Episode
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.signals import GracefulStop
from ellm_agent.terminal import print_stderr
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.recorder import TransitionRecorder


class Every:
    """True once in each ``interval`` frames, at the same ones wherever a run was resumed."""

    def __init__(self, interval: int, start: int = 0):
        self._interval, self._next = interval, start - start % interval + interval

    def due(self, frames: int) -> bool:
        if frames < self._next:
            return False
        self._next = frames - frames % self._interval + self._interval
        return True


class EpisodeLog(BaseCallback):
    """Appends finished training episodes to ``episodes.jsonl``, what became of suggestions to ``suggestions.jsonl``, and
    keeps the score.

    Args:
        run: the run; episodes that it holds already, from before a resume, are counted.
        rates: success rates over all training episodes.
    """

    def __init__(self, run: Run, rates: SuccessRates):
        super().__init__()
        self._run, self.rates = run, rates
        self.recent: deque[Episode] = deque(maxlen=RECENT)
        try:
            for row in run.read("episodes"):
                self._count(Episode.from_row(row))
        except TypeError as error:
            raise UserError(f"{run.folder / 'episodes.jsonl'} holds a row that is no episode") from error

    def _count(self, episode: Episode) -> None:
        self.rates.add(episode.unlocked, episode.scores)
        self.recent.append(episode)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "finished" in info:
                episode = info["finished"]
                self._count(episode)
                self._run.append("episodes", {"frames": self.num_timesteps, **episode.row()})
            for row in info.get("suggestions", ()):
                self._run.append("suggestions", {"frames": self.num_timesteps, **row})
        return True

    def means(self) -> dict[str, float]:
        """Means over the recent episodes; empty before the first has finished."""
        if not self.recent:
            return {}
        successes = [e.success for e in self.recent if e.success is not None]
        return {
            **({"success_rate": float(np.mean(successes))} if successes else {}),
            "unlocks_per_episode": float(np.mean([len(e.unlocked) for e in self.recent])),
            "episode_length": float(np.mean([e.length for e in self.recent])),
            "intrinsic_return": float(np.mean([e.intrinsic_return for e in self.recent])),
            "extrinsic_return": float(np.mean([e.extrinsic_return for e in self.recent])),
        }


class Metrics(BaseCallback):
    """Writes a row of metrics every so many frames, to ``metrics.jsonl`` and TensorBoard.

    Args:
        interval: frames.
        sources: give more metrics.
        episodes: gives episode metrics.
        seconds_before: seconds of the run before a resume.
    """

    def __init__(
        self,
        interval: int,
        sources: Sequence[GoalExploration | AddedReward],
        episodes: EpisodeLog,
        seconds_before: float,
    ):
        super().__init__()
        self._interval, self._sources, self._episodes = interval, sources, episodes
        self._before = seconds_before

    def _on_training_start(self) -> None:
        self._start = self._last = time.monotonic()
        self._last_frames = self.num_timesteps
        self._every = Every(self._interval, self.num_timesteps)

    @property
    def seconds(self) -> float:
        """Seconds the run has trained for."""
        return self._before + time.monotonic() - self._start

    def _on_step(self) -> bool:
        if self._every.due(self.num_timesteps):
            self._write()
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self._last_frames:
            self._write()

    def _write(self) -> None:
        now = time.monotonic()
        row = {
            "seconds": round(self.seconds, 3),
            "frames_per_second": round((self.num_timesteps - self._last_frames) / (now - self._last), 1),
            "episodes": self._episodes.rates.episodes,
            "unlocks_per_episode": 0.0,  # until an episode has finished
            **self._episodes.rates.scores(),
            **self._episodes.means(),
            "memory_mb": psutil.Process().memory_info().rss // 2**20,
        }
        for source in self._sources:
            row |= source.metrics()
        for name, value in row.items():
            self.logger.record(name, value)
        self.logger.dump(self.num_timesteps)
        self._last, self._last_frames = now, self.num_timesteps


class Evaluation(BaseCallback):
    """Plays held-out worlds every so many frames, and at the end.

    Args:
        run: the run.
        interval: frames.
        exploration: worlds for evaluation, one for each episode.
        rates: makes success rates, which start at zero.
    """

    def __init__(
        self, run: Run, interval: int, exploration: GoalExploration, rates: Callable[[], SuccessRates]
    ):
        super().__init__()
        self._run, self._interval, self._exploration, self._rates = run, interval, exploration, rates
        self.recordings: list[Recording] = []

    def _on_training_start(self) -> None:
        self._every = Every(self._interval, self.num_timesteps)
        rows = self._run.read("evaluations")
        self._last = rows[-1]["frames"] if rows else None

    def _on_step(self) -> bool:
        if self._every.due(self.num_timesteps):
            self._evaluate()
        return True

    def _on_training_end(self) -> None:
        if self._last != self.num_timesteps or not self.recordings:
            self._evaluate()

    def _evaluate(self) -> None:
        env = self._run.config.env
        self.recordings = record_episodes(self.model, self._exploration, env.name, env.options)
        results = summarise(self.recordings, self._rates())
        if self._last != self.num_timesteps:  # a finished run that is resumed has been here before
            self._run.append("evaluations", {"frames": self.num_timesteps, **results})
        self._last = self.num_timesteps
        for name, value in results.items():
            self.logger.record(f"eval/{name}", value)


class Checkpoints(BaseCallback):
    """Saves a checkpoint every so many frames, at the end, and when the run must end early.

    It waits until no collection of experience is half done: at most a rollout.

    Args:
        run: the run.
        interval: frames.
        exploration: the training worlds.
        bonus: a reward around them, which is saved, too.
        metrics: has the seconds of the run.
        stop: has the signal that asks the run to stop, if any.
        recorder: of transitions, whose files a checkpoint completes.

    Raises:
        Stopped: from training, after a signal.
        LanguageModelError, UserError: from training, when the language model has failed and failures stop the run, or a
            judge of clips has.
    """

    def __init__(
        self,
        run: Run,
        interval: int,
        exploration: GoalExploration,
        bonus: AddedReward | None,
        metrics: Metrics,
        stop: GracefulStop,
        recorder: TransitionRecorder | None = None,
    ):
        super().__init__()
        self._run, self._interval, self._stop = run, interval, stop
        self._exploration, self._bonus, self._metrics = exploration, bonus, metrics
        self._recorder = recorder
        self._due = False

    def _on_training_start(self) -> None:
        self._every = Every(self._interval, self.num_timesteps)
        self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        self._due = self._every.due(self.num_timesteps) or self._due
        return True

    def _on_rollout_start(self) -> None:
        stopped, failure = self._stop.number, self._failure
        if self._due or stopped or failure:
            self._save()
        if failure:
            raise failure
        if stopped:
            raise Stopped(stopped)

    def _on_training_end(self) -> None:
        self._save()
        if self._failure:
            raise self._failure
        if self._stop.number:
            raise Stopped(self._stop.number)

    @property
    def _failure(self) -> Exception | None:
        return self._exploration.failure or (self._bonus.reward.failure if self._bonus else None)

    def _save(self) -> None:
        self._due = False
        if self._recorder:
            self._recorder.flush()
        if self._saved != self.num_timesteps:
            config = config_files.plain(self._run.config)
            del config["run.out"]
            counters = {"seconds": self._metrics.seconds, "rows": self._run.sync_logs(), "config": config}
            checkpoints.save(self._run.checkpoints, self.model, self._exploration, counters, self._bonus)
            self._saved = self.num_timesteps


class FrameBudget(BaseCallback):
    """Ends training at the frame budget, also in the middle of a rollout (which is then not learned from)."""

    def __init__(self, frames: int):
        super().__init__()
        self._frames = frames

    def _on_step(self) -> bool:
        collected = self.locals.get("n_steps", -1) + 1  # of an on-policy rollout
        return self.num_timesteps < self._frames or collected == self.locals.get("n_rollout_steps")


class ProgressLine(BaseCallback):
    """A progress bar with frames/s, time left, unlocks and score; plain lines where there is no terminal.

    Args:
        total: frames of the whole run.
        episodes: gives unlocks and score.
        lines_every: frames between plain lines.
        beside: a few more words.
    """

    def __init__(self, total: int, episodes: EpisodeLog, lines_every: int, beside: Callable[[], str] = str):
        super().__init__()
        self._total, self._episodes, self._beside = total, episodes, beside
        self._bar = sys.stderr.isatty()
        self._lines = lines_every

    def _on_training_start(self) -> None:
        self._start, self._first = time.monotonic(), self.num_timesteps
        self._every = Every(self._lines, self.num_timesteps)
        if self._bar:
            self._progress = Progress(
                TextColumn("{task.completed:,}/{task.total:,} frames"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=_stderr(),
            )
            self._progress.start()
            self._task = self._progress.add_task("", total=self._total, completed=self._first, state="")

    def _on_step(self) -> bool:
        if self._bar:
            if self.n_calls % 32 == 0:
                self._progress.update(self._task, completed=self.num_timesteps, state=self._state())
        elif self._every.due(self.num_timesteps):
            rate = self._rate()
            left = (self._total - self.num_timesteps) / rate
            share = self.num_timesteps / self._total
            frames = f"{self.num_timesteps:,} frames ({share:.0%})"
            print_stderr(f"{frames}  {self._state()}  {left:,.0f} s left")
        return True

    def close(self) -> None:
        """Releases the terminal."""
        if self._bar and hasattr(self, "_progress"):
            self._progress.update(self._task, completed=self.num_timesteps, state=self._state())
            self._progress.stop()

    def _rate(self) -> float:
        seconds = max(time.monotonic() - self._start, 1e-9)
        return max(self.num_timesteps - self._first, 1) / seconds

    def _state(self) -> str:
        means = self._episodes.means()
        parts = [f"{self._rate():,.0f} frames/s"]
        if means:
            parts.append(f"{means['unlocks_per_episode']:.1f} unlocks/episode")
            parts.append(f"score {self._episodes.rates.headline():.1f} %")
        if "success_rate" in means:
            parts.append(f"solved {means['success_rate']:.0%}")
        return "  ".join([*parts, *filter(None, [self._beside()])])


def _stderr():
    from rich.console import Console

    return Console(stderr=True)
