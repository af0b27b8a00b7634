"""Measures how well a reward that is learned from N comparisons predicts true returns of clips it has not seen.

The clips are those of an agent that learns from the environment's reward, from its first frame to its last; the judge is the
true reward with 10 % errors. Queries on which the ensemble disagrees against random ones. Writes a JSON file (correlations
for each seed) and prints means with 95 % intervals over the seeds.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ellm_agent import cli
from ellm_agent.build import generator_seed, make_agent, make_worlds
from ellm_agent.config import PRESETS, methods
from ellm_agent.errors import UserError
from ellm_agent.experiment import library_settings
from ellm_agent.goals.base import NoGoals
from ellm_agent.preferences.clips import Clip, ClipRecorder, RecordedClips
from ellm_agent.preferences.judges import SyntheticJudge, true_reward
from ellm_agent.preferences.labels import PREFERRED
from ellm_agent.preferences.queries import Pair, choose_queries
from ellm_agent.rewards.preference import PreferenceReward
from ellm_agent.runs.folder import write_whole
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures
from ellm_agent.wrappers.added_reward import AddedReward

COUNTS = (175, 350, 700, 1_400)  # labels after which the correlation is measured
TURN = 35  # labels between two fits
POOL, HELD_OUT = 300, 500  # clips to choose queries from, drawn anew in each turn; clips to measure with


@dataclass(frozen=True)
class Options:
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of judge, queries and first weights; the clips are the same."""
    frames: int = 150_000
    """Frames of the agent whose clips they are."""
    clips_seed: int = 100
    """Its seed."""
    cache: Path | None = None
    """A file that keeps the clips for the next time, with the same frames and clips-seed. None: none."""
    out: Path = Path("results/preference_labels.json")
    """File for the correlations."""


def main(options: Options) -> None:
    """Measures, and writes after each curve.

    Raises:
        UserError: if an option makes no sense.
    """
    cli.at_least(60_000, frames=options.frames)
    if not options.seeds:
        raise UserError("seeds is empty; name one or more, such as 0 1 2")
    cli.at_least(0, clips_seed=options.clips_seed, seeds=min(options.seeds))
    for name, path in (("out", options.out), ("cache", options.cache)):
        if path and not path.parent.is_dir():
            raise UserError(f"{name} is {path}; {path.parent} is no folder")
    config = methods.apply("scratch", PRESETS["default"]).changed(
        **{"agent.algo": "ppo", "run.seed": options.clips_seed, "run.frames": options.frames}
    )
    worlds = make_worlds(config, NoGoals(), PhraseTable(), config.env.n_envs)
    slots = worlds.fields["achieved"].stop
    made_of = {"frames": options.frames, "clips_seed": options.clips_seed, "world": config.env.options}
    made_of["clip_frames"] = config.reward.preference.clip_frames
    if options.cache and options.cache.exists():
        observations, totals = read_clips(options.cache, made_of, worlds.phrases)
    else:
        recorder = ClipRecorder(
            worlds.num_envs, config.reward.preference.clip_frames, slots, kept=options.frames
        )
        with library_settings(config):
            agent = make_agent(config, worlds, AddedReward(worlds, RecordedClips(recorder)))
            agent.learn(options.frames)
        observations = np.stack([clip.observations for clip in recorder.clips])
        totals = np.array([clip.total for clip in recorder.clips])
        if options.cache:
            write_clips(options.cache, observations, totals, made_of, worlds.phrases)
    clips = [
        Clip(o, i, (0,) * (len(o) - 1), float(t))
        for i, (o, t) in enumerate(zip(observations, totals, strict=True))
    ]
    curves: dict[str, dict[str, list[float]]] = {"disagreement": {}, "random": {}}
    for seed in options.seeds:
        for how, by_seed in curves.items():
            by_seed[str(seed)] = curve(
                clips, how, seed, worlds.features(whiten=True), slots, worlds.fields["achieved"]
            )
            print(f"seed {seed}, {how}: " + ", ".join(f"{c:.3f}" for c in by_seed[str(seed)]), flush=True)
            content = {"labels": COUNTS, "clips": len(clips), "correlation": curves}
            write_whole(options.out, json.dumps(content, indent=1))
    for how, by_seed in curves.items():
        for count, values in zip(COUNTS, np.array(list(by_seed.values())).T, strict=True):
            print(f"{how}, {count} labels: {interval(values)}")


def write_clips(
    path: Path, observations: np.ndarray, totals: np.ndarray, made_of: dict[str, Any], phrases: PhraseTable
) -> None:
    """Keeps clips for ``read_clips``, with the texts of their phrases and what they were made of."""
    used, places = np.unique(observations, return_inverse=True)
    about = {"made_of": made_of, "phrases": [phrases.text(phrase) for phrase in used.tolist()]}
    content = io.BytesIO()
    places = places.reshape(observations.shape).astype(np.int32)
    np.savez_compressed(content, observations=places, totals=totals, about=json.dumps(about))
    write_whole(path, content.getvalue())


def read_clips(path: Path, made_of: dict[str, Any], phrases: PhraseTable) -> tuple[np.ndarray, np.ndarray]:
    """Observations, in the ids of a table, and true returns of the clips in a file.

    Raises:
        UserError: if it holds none, or those of another agent.
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            numbers = np.array(phrases.ids(about["phrases"]), np.int32)
            observations, totals = numbers[kept["observations"]], kept["totals"]
        found = about["made_of"]
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"cache is {path}, which holds no clips of this script; name another file") from error
    if found != json.loads(json.dumps(made_of)):
        raise UserError(f"cache is {path}, whose clips are of {found}, not of {made_of}; name another file")
    return observations, totals


def curve(
    clips: list[Clip], how: str, seed: int, features: PhraseFeatures, slots: int, events: slice
) -> list[float]:
    """Pearson's correlation of predicted and true returns of held-out clips, after each of ``COUNTS`` labels."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(clips))
    held_out, known = ([clips[i] for i in part] for part in (order[:HELD_OUT], order[HELD_OUT:]))
    states, true = np.stack([c.observations for c in held_out]), [c.total for c in held_out]
    options = PRESETS["default"].reward.preference
    reward = PreferenceReward(
        features,
        slots,
        options.members,
        options.hidden,
        options.learning_rate,
        steps=options.steps,
        seed=generator_seed(seed),
        events=events,
    )
    judge, found = SyntheticJudge("truth", true_reward, options.errors, seed), []
    asked: list[Pair] = []
    for turn in range(1, COUNTS[-1] // TURN + 1):
        pool = [known[i] for i in random.choice(len(known), POOL, replace=False)]
        queries = choose_queries(pool, TURN, how, reward, random, asked)
        asked += [query.pair for query in queries]
        for label in judge.judge(queries):
            query, preferred = label.query, PREFERRED[label.choice]
            reward.put(query.key, query.left.observations, query.right.observations, preferred)
        reward.fit(np.stack([clip.observations for clip in pool]))
        if turn * TURN in COUNTS:
            found.append(round(float(np.corrcoef(reward.predicted_returns(states), true)[0, 1]), 4))
    return found


def interval(values: np.ndarray) -> str:
    """Mean and 95 % interval (Student's t over seeds)."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
