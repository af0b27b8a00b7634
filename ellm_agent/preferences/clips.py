"""Clips: short sequences of frames that a judge compares."""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellm_agent.config.env import EnvConfig
from ellm_agent.config.reward import PreferenceConfig
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.records import Transitions
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.preference import new_phrases
from ellm_agent.runs.folder import Run
from ellm_agent.text.embedding_bag import PADDING
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.observation import PREFIXES
from envs.interface import HELD_OUT_SEEDS

KEPT = 500  # of the newest clips
KEPT_OF_EVENT = 10  # of the newest clips in which an event happened
EVENTS = 50  # of which such clips are kept
LARGEST = 2**22  # bytes of a saved clip's observations


@dataclass(frozen=True, eq=False)
class Clip:
    """Some frames of an episode.

    Attributes:
        observations: phrase ids of its states, ``(frames + 1, slots)`` int32: the state before the first action, and that
            after each.
        world_seed: of the episode.
        actions: of the episode, from its start to the clip's end: with the seed, they play it again.
        total: the environment's own reward, summed over the clip. For synthetic judges and diagnostics only.
    """

    observations: np.ndarray
    world_seed: int
    actions: tuple[int, ...]
    total: float

    @property
    def start(self) -> int:
        """Frames of the episode before the clip."""
        return len(self.actions) - len(self.observations) + 1

    @functools.cached_property
    def key(self) -> str:
        """A name that other clips do not have."""
        text = f"{self.world_seed} {self.start} {self.actions}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def row(self) -> dict[str, Any]:
        """JSON values, for ``from_row``."""
        frames, slots = self.observations.shape
        content = zlib.compress(self.observations.astype("<i4").tobytes())
        return {
            "world_seed": self.world_seed,
            "actions": list(self.actions),
            "total": round(self.total, 4),
            "shape": [frames, slots],
            "observations": base64.b64encode(content).decode(),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Clip:
        """The clip of such values.

        Raises:
            TypeError, ValueError, KeyError: if they are none.
        """
        content = base64.b64decode(row["observations"], validate=True)
        try:
            ids = zlib.decompressobj().decompress(content, LARGEST)
        except zlib.error as error:
            raise ValueError("the observations are damaged") from error
        observations = np.frombuffer(ids, "<i4").reshape(row["shape"]).astype(np.int32)
        if observations.ndim != 2 or not 2 <= len(observations) <= len(row["actions"]) + 1:
            raise ValueError(
                f"observations {observations.shape} do not go with {len(row['actions'])} actions"
            )
        return cls(observations, int(row["world_seed"]), tuple(map(int, row["actions"])), float(row["total"]))


class ClipRecorder:
    """Cuts the newest experience of parallel worlds into clips.

    An episode is cut from its start on; where its length is no multiple of a clip's, the last clip overlaps the one before
    it, so that ends of episodes are seen, too. Shorter episodes give no clip.

    Args:
        n_envs: parallel worlds.
        frames: length of a clip.
        slots: the first phrases of an observation, which are kept.
        kept: number of clips kept, the newest ones.
        events: of these phrases, those that name events.

    Attributes:
        clips: the newest.
    """

    def __init__(self, n_envs: int, frames: int, slots: int, kept: int = KEPT, events: slice = slice(0)):
        self._frames, self._slots, self._events = frames, slots, events
        self.clips: deque[Clip] = deque(maxlen=kept)
        self._clips_of: dict[int, deque[Clip]] = {}  # by the phrase of an event that happened in them
        self._history: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=frames)  # observations, rewards
        self._actions: list[list[int]] = [[] for _ in range(n_envs)]

    def begin(self) -> None:
        """New episodes have begun in all worlds."""
        self._history.clear()
        self._actions = [[] for _ in self._actions]

    def add(self, transitions: Transitions) -> None:
        """Takes one transition of each world; their infos hold ``world_seed`` and ``extrinsic``."""
        before = transitions.observations[:, : self._slots].astype(np.int32)
        rewards = np.array([info["extrinsic"] for info in transitions.infos])
        self._history.append((before, rewards))
        for i, action in enumerate(transitions.actions.tolist()):
            actions, done = self._actions[i], transitions.dones[i]
            actions.append(action)
            if len(actions) >= self._frames and (done or len(actions) % self._frames == 0):
                self.keep(self._cut(i, transitions))
            if done:
                self._actions[i] = []

    def keep(self, clip: Clip) -> None:
        """Adds a clip, the newest one."""
        self.clips.append(clip)
        events = new_phrases(clip.observations[:-1], clip.observations[1:])[:, self._events]
        for phrase in dict.fromkeys(events[events != PADDING].tolist()):
            self._clips_of.setdefault(phrase, deque(maxlen=KEPT_OF_EVENT)).append(clip)
        while len(self._clips_of) > EVENTS:
            del self._clips_of[next(iter(self._clips_of))]

    @property
    def candidates(self) -> list[Clip]:
        """Clips to ask about: the newest, and before them the newest 10 of each event, however long ago. What an agent does
        once in a hundred episodes is rarely in one of the newest."""
        of_events = [clip for clips in self._clips_of.values() for clip in clips]
        return list({clip.key: clip for clip in (*of_events, *self.clips)}.values())

    def _cut(self, i: int, transitions: Transitions) -> Clip:
        """The last frames of world ``i``."""
        last = transitions.next_observations[i, : self._slots].astype(np.int32)
        observations = np.stack([*(before[i] for before, _ in self._history), last])
        total = float(sum(rewards[i] for _, rewards in self._history))
        world_seed = int(transitions.infos[i]["world_seed"])
        return Clip(observations, world_seed, tuple(self._actions[i]), total)

    def state_dict(self) -> dict[str, Any]:
        """The clips, and the episodes under way."""
        return {
            "clips": [clip.row() for clip in self.clips],
            "history": [[before.tolist(), rewards.tolist()] for before, rewards in self._history],
            "actions": [list(actions) for actions in self._actions],
            "clips_of": {
                str(phrase): [clip.row() for clip in clips] for phrase, clips in self._clips_of.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.clips.clear()
        self.clips.extend(map(Clip.from_row, state["clips"]))
        self._history.clear()
        for before, rewards in state["history"]:
            self._history.append((np.array(before, np.int32), np.array(rewards)))
        self._actions = [list(actions) for actions in state["actions"]]
        self._clips_of = {
            int(phrase): deque(map(Clip.from_row, rows), maxlen=KEPT_OF_EVENT)
            for phrase, rows in state.get("clips_of", {}).items()  # up to 0.12.0 there were none
        }


class RecordedClips(TransitionReward):
    """Rewards nothing, and cuts what it sees into clips.

    Args:
        recorder: cuts.
    """

    def __init__(self, recorder: ClipRecorder):
        self._recorder = recorder

    def reset(self, observations: np.ndarray) -> None:
        self._recorder.begin()

    def reward(self, transitions: Transitions) -> np.ndarray:
        self._recorder.add(transitions)
        return np.zeros(len(transitions.dones), np.float32)


def clips_of_recordings(
    recordings: Sequence[Recording], worlds: GoalExploration, frames: int, slots: int
) -> list[Clip]:
    """The clips in recorded episodes, which are played again.

    Args:
        recordings: at most as many as there are worlds.
        worlds: with the rules and captions of the recordings; they are reset.
        frames: length of a clip.
        slots: the first phrases of an observation, which are kept.
    """
    recorder = ClipRecorder(worlds.num_envs, frames, slots, kept=sum(len(r.actions) for r in recordings) + 1)
    options = [{"world_seed": recording.world_seed} for recording in recordings]
    worlds.set_options(options + [{}] * (worlds.num_envs - len(options)))
    worlds.seed(
        HELD_OUT_SEEDS
    )  # of worlds without a recording, and behind the end of one: their phrases get ids, too
    observations = worlds.reset()
    for step in range(max((len(recording.actions) for recording in recordings), default=0)):
        chosen = [r.actions[step] if step < len(r.actions) else 0 for r in recordings]
        actions = np.array(chosen + [0] * (worlds.num_envs - len(chosen)))
        following, _, dones, infos = worlds.step(actions)
        reached = following.copy()
        for i in np.flatnonzero(dones):
            reached[i] = infos[i]["terminal_observation"]
        recorder.add(Transitions(observations, actions, reached, dones, following, infos))
        observations = following
    seeds = {recording.world_seed: len(recording.actions) for recording in recordings}
    return [clip for clip in recorder.clips if len(clip.actions) <= seeds.get(clip.world_seed, 0)]


def first_clips(options: PreferenceConfig, env: EnvConfig, worlds: GoalExploration, slots: int) -> list[Clip]:
    """The clips in the recorded episodes of the run that a configuration names.

    Args:
        options: the configuration's.
        env: the worlds of the run that is to begin.
        worlds: of this kind, to play the episodes again.
        slots: the first phrases of an observation, which are kept.

    Raises:
        UserError: if there is no such run, or it has no recordings or none of such worlds.
    """
    run = Run.open(options.recordings)
    paths = sorted(run.replays.glob("*.json"))[: worlds.num_envs]
    if not paths:
        raise UserError(f"{run.folder} holds no recorded episodes yet; they are kept when a run ends")
    recordings = [Recording.load(path) for path in paths]
    if any((recording.world, recording.environment) != (env.name, env.options) for recording in recordings):
        raise UserError(
            f"the recorded episodes of {run.folder} are of other worlds: see world, protocol and caption there"
        )
    return clips_of_recordings(recordings, worlds, options.clip_frames, slots)


class ClipReader:
    """Clips in words.

    Args:
        worlds: whose observations they hold.
    """

    def __init__(self, worlds: GoalExploration):
        self._phrases, self._language = worlds.phrases, worlds.language
        self._caption, self._achieved = worlds.fields["caption"], worlds.fields["achieved"]

    def captions(self, clip: Clip) -> list[str]:
        """Of its states, ``frames + 1``."""
        return [self._language.to_sentence(self._texts(row, self._caption)) for row in clip.observations]

    def events(self, clip: Clip) -> list[tuple[int, str]]:
        """What was achieved for the first time in the episode: pairs of a frame of the clip, from 1 on, and the event."""
        prefix, found = PREFIXES["achieved"], []
        for frame in range(1, len(clip.observations)):
            before, after = (self._texts(clip.observations[f], self._achieved) for f in (frame - 1, frame))
            found += [(frame, text.removeprefix(prefix)) for text in after if text not in before]
        return found

    def _texts(self, row: np.ndarray, field: slice) -> list[str]:
        return [self._phrases.text(phrase) for phrase in row[field].tolist() if phrase != PADDING]
