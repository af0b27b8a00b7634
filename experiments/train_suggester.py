"""Trains a suggesting language model: on a corpus (``sft``), from a reward model (``reward-model``, then ``ppo``), or offline
from logs (``ilql``); goes a part of the way back (``interpolate``), measures (``measure``), or shows the corpus (``corpus``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ellm_agent import cli
from ellm_agent.config import files as config_files
from ellm_agent.runs.folder import write_whole
from envs import registry
from envs.interface import World

if TYPE_CHECKING:
    from ellm_agent.lm_training.data import Sources

BUNDLED = Path("results/bundled_model.json")  # figures of the bundled model

# PyTorch is imported late: --help must not wait for it.


@dataclass(frozen=True)
class Sft:
    """Writes the corpus, and trains tokenizer and model on it. About half an hour on one core in Crafter. The same command
    continues it."""

    out: Path | None = None
    """New folder for the model. None: runs/lm/WORLD-sft-seedN."""
    model: Path | None = None
    """Folder of a model to train on. None: a new model and tokenizer."""
    world: str = "crafter"
    """World whose situations and advice make the corpus."""
    protocol: str | None = None
    """Rules of the situations. None: of all protocols, the one with the most goals
    (in Housekeep homes, while runs play ellm by default)."""
    scenes: int = 60_000
    """Situations in the corpus; each gives an open and a closed question."""
    passes: int = 3
    """Passes over the corpus."""
    learning_rate: float = 2e-3
    """Largest learning rate of AdamW."""
    tidied: float = 0.0
    """Share of the rearranged situations that are partly tidy, in worlds with objects: each object lies where it belongs with a
    probability drawn for the situation, else at random. For a model that is trained further (--model): a new one learns to read
    places only if all objects lie at random."""
    seed: int = 0
    """Of corpus and training."""
    threads: int = 2
    """Threads for PyTorch."""

    def run(self) -> None:
        from ellm_agent.lm_training import sft

        recipe = sft.Recipe(
            scenes=self.scenes,
            passes=self.passes,
            learning_rate=self.learning_rate,
            seed=self.seed,
            start=self.model,
            world=_world(self.world, self.protocol).name,
            protocol=self.protocol,
            tidied=self.tidied,
        )
        _set_threads(self.threads)
        folder = self.out or Path("runs", "lm", f"{self.world}-sft-seed{self.seed}")
        sft.train(recipe, folder)
        _say_written(folder, self.world)


@dataclass(frozen=True)
class Summary:
    """Gathers the figures of finished trainings into one file, by method and over seeds."""

    folders: tuple[Path, ...]
    """Folders of trainings."""
    out: Path = Path("results/lm_training/suggesters.json")
    """File for the table."""

    def run(self) -> None:
        from ellm_agent.lm_training import report

        self.out.parent.mkdir(parents=True, exist_ok=True)
        rows = report.summarise(self.folders)
        write_whole(self.out, json.dumps(rows, indent=1) + "\n")
        for row in rows:
            print(f"{row['method']} ({len(row['seeds'])} seeds)")
            for name, (mean, low, high) in row["figures"].items():
                print(f"  {name.replace('_', ' ')}: {mean:,.3f} [{low:,.3f}, {high:,.3f}]")
        print(f"written to {self.out}")


@dataclass(frozen=True)
class Measure:
    """Measures a model on situations of held-out worlds."""

    model: Path | None = None
    """The model's folder. None: the bundled model."""
    world: str = "crafter"
    """World of the situations."""
    protocol: str | None = None
    """Its rules. None: of all protocols, the one with the most goals
    (in Housekeep homes, while runs play ellm by default)."""
    scenes: int = 2_000
    """Situations."""
    recalled: int = 100
    """Situations in which a goal is possible, for the recall of each goal, in worlds with few goals."""
    threads: int = 2
    """Threads for PyTorch."""
    out: Path | None = None
    """File for the figures. None: results/bundled_model.json, or with --model only printed."""

    def run(self) -> None:
        from ellm_agent.llm.bundled import FOLDER, BundledModel
        from ellm_agent.lm_training import data, measure

        cli.at_least(1, scenes=self.scenes, recalled=self.recalled)
        data.check_model(self.model, _world(self.world))
        _set_threads(self.threads)
        model = BundledModel(self.model or FOLDER)
        model.load()
        out = self.out or (BUNDLED if self.model is None else None)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
        figures = measure.measure(
            model,
            _world(self.world, self.protocol),
            self.scenes,
            recalled=self.recalled,
            protocol=self.protocol,
        )
        _print(figures)
        if out:
            write_whole(out, json.dumps({name: round(x, 4) for name, x in figures.items()}, indent=1) + "\n")
            print(f"written to {out}")


@dataclass(frozen=True)
class Corpus:
    """Prints examples of the corpus."""

    world: str = "crafter"
    """Its world."""
    examples: int = 10
    """Situations."""
    seed: int = 0
    """Of the corpus."""

    def run(self) -> None:
        from ellm_agent.lm_training import sft

        cli.at_least(1, examples=self.examples)
        recipe = sft.Recipe(scenes=self.examples, world=_world(self.world).name, seed=self.seed)
        for question, answer in sft.make_examples(recipe):
            print(question + answer, end="\n\n")


@dataclass(frozen=True, kw_only=True)
class _FromLogs:
    """Options of all trainings from suggestion logs. Subclasses have ``logs``, the files."""

    model: Path | None = None
    """Folder of the language model to start from, whose answers are judged. None: the bundled model."""
    world: str = "crafter"
    """World of the logs."""
    protocol: str | None = None
    """Its rules in the logs. None: of all protocols, the one with the most goals
    (in Housekeep homes, while runs play ellm by default)."""
    skip_frames: int = 0
    """Frames at the beginning of each run that are left out."""
    rarity_power: float = 0.0
    """Power of the rarity that events are worth in the usefulness, as in the agent's reward (.5). 0: all are worth the same."""
    cost: float = 0.1
    """Of each goal that is not achieved (with judge advice: that makes no sense), in the usefulness."""
    judge: Literal["logs", "advice"] = "logs"
    """Who says how useful answers are. logs: what happens after them; advice: the world's advice, by how many sensible
    goals they name, for worlds in which foolish goals can be achieved as well."""

    def sources(self) -> Sources:
        """Where the data come from.

        Raises:
            UserError: if a value is out of bounds, or there is no such world or protocol.
        """
        from ellm_agent.lm_training.data import Sources

        cli.at_least(0, skip_frames=self.skip_frames, rarity_power=self.rarity_power, cost=self.cost)
        world = _world(self.world, self.protocol).name
        return Sources(
            self.logs,
            self.model,
            world,
            self.skip_frames,
            self.rarity_power,
            self.cost,
            self.judge,
            self.protocol,
        )


@dataclass(frozen=True)
class RewardModel(_FromLogs):
    """Learns which answers are useful: a reward model from suggestion logs, or people's choices. Continues if it was stopped."""

    out: Path
    """New folder for the reward model, or one in which this training was stopped."""
    logs: tuple[Path, ...] = ()
    """Run folders made with --log-suggestions, or their suggestions.jsonl: labels are simulated for their captions."""
    choices: tuple[Path, ...] = ()
    """Files of people's choices, which preferences.py RUN --suggestions writes: alone, or beside simulated labels."""
    scenes: int = 2_000
    """Captions whose answers are compared."""
    k: int = 6
    """Answers to a caption, 4 to 9."""
    noise: float = 0.1
    """Share of random labels, among the simulated ones."""
    loss: Literal["ranking", "best"] = "ranking"
    """Of simulated labels. ranking: all pairs of a caption's answers (InstructGPT); best: the choice among the k (Ziegler et
    al. 2019), which is always that of people's choices."""
    steps: int = 400
    """Gradient steps."""
    seed: int = 0
    """Of samples, labels and training."""

    def run(self) -> None:
        from ellm_agent.lm_training import fit_reward_model

        cli.at_least(1, scenes=self.scenes, steps=self.steps)
        cli.at_least(0, seed=self.seed)
        _set_threads(1)
        recipe = fit_reward_model.Recipe(
            self.sources(),
            choices=self.choices,
            scenes=self.scenes,
            k=self.k,
            noise=self.noise,
            loss=self.loss,
            steps=self.steps,
            seed=self.seed,
        )
        _print(fit_reward_model.fit(recipe, self.out))
        print(f"written to {self.out}; train_suggester.py ppo --reward-model {self.out} uses it")


@dataclass(frozen=True)
class Ppo(_FromLogs):
    """Improves a suggester by PPO against a reward model, near its first weights. Continues if it was stopped."""

    logs: tuple[Path, ...]
    """Run folders made with --log-suggestions, or their suggestions.jsonl: those of the reward model."""
    reward_model: Path
    """Folder that reward-model wrote."""
    out: Path
    """New folder for the suggester, or one in which this training was stopped."""
    iterations: int = 40
    """Iterations, each with fresh answers."""
    beta: float = 0.1
    """Weight of the divergence from the first weights, or its first value (InstructGPT: .02)."""
    target_kl: float | None = None
    """Divergence to which the weight is steered (Ziegler et al. 2019), nats an answer. None: the weight is fixed."""
    horizon: float = 500.0
    """Answers in which the weight can change by the factor e^.2 at most (Ziegler et al. 2019: 10,000, of 2 million)."""
    whiten_rewards: bool = False
    """Whether rewards are scaled to deviation 1, as published; their mean stays."""
    mix: float = 0.05
    """Weight of the loss on the pretraining corpus. 0: none."""
    rounds: int = 2
    """Rounds. At the start of each but the first, the present policy's answers are labelled, and the reward model learns from
    them."""
    k: int = 6
    """Answers to a caption, 4 to 9, in these rounds."""
    noise: float = 0.1
    """Share of random labels in these rounds."""
    seed: int = 0
    """Of samples and training."""

    def run(self) -> None:
        from ellm_agent.lm_training import fit_ppo

        cli.at_least(0, seed=self.seed, beta=self.beta, mix=self.mix, horizon=self.horizon)
        if self.target_kl is not None:
            cli.at_least(0, target_kl=self.target_kl)
        _set_threads(1)
        recipe = fit_ppo.Recipe(
            self.sources(),
            self.reward_model,
            iterations=self.iterations,
            beta=self.beta,
            target_kl=self.target_kl,
            horizon=self.horizon,
            whiten_rewards=self.whiten_rewards,
            mix=self.mix,
            rounds=self.rounds,
            k=self.k,
            noise=self.noise,
            seed=self.seed,
        )
        _print(fit_ppo.fit(recipe, self.out))
        _say_written(self.out, self.world)


@dataclass(frozen=True)
class Ilql(_FromLogs):
    """Improves a suggester offline, from logs alone, by ILQL or what it is compared with. Continues if it was stopped."""

    logs: tuple[Path, ...]
    """Run folders made with --log-suggestions, or their suggestions.jsonl."""
    out: Path
    """New folder for the suggester, or one in which this training was stopped."""
    method: Literal["ilql", "sarsa", "bc", "filtered-bc"] = "ilql"
    """ilql; sarsa: its single-step ablation (tau .5); bc: imitation of the logs; filtered-bc: of their best chains."""
    steps: int = 300
    """Gradient steps."""
    tau: float = 0.8
    """Expectile of the values."""
    alpha: float = 0.1
    """Weight of the CQL term."""
    beta: float = 8.0
    """Weight of Q - V in decoding."""
    seed: int = 0
    """Of training."""

    def run(self) -> None:
        from ellm_agent.lm_training import fit_ilql

        cli.at_least(1, steps=self.steps)
        cli.at_least(0, seed=self.seed, alpha=self.alpha, beta=self.beta)
        _set_threads(1)
        recipe = fit_ilql.Recipe(
            self.sources(),
            method=self.method,
            steps=self.steps,
            tau=self.tau,
            alpha=self.alpha,
            beta=self.beta,
            seed=self.seed,
        )
        _print(fit_ilql.fit(recipe, self.out))
        _say_written(self.out, self.world)


@dataclass(frozen=True)
class Interpolate(_FromLogs):
    """Goes back a part of the way that a training went: gains less, and forgets less of the corpus."""

    logs: tuple[Path, ...]
    """Run folders made with --log-suggestions, or their suggestions.jsonl: the suggester is measured on them."""
    trained: Path
    """Folder of the suggester that was trained, from --model."""
    out: Path
    """New folder for the suggester."""
    share: float = 0.5
    """Of the way from the first weights to the trained ones that is kept."""
    seed: int = 0
    """Of the answers that are measured."""

    def run(self) -> None:
        from ellm_agent.lm_training import interpolate

        cli.at_least(0, seed=self.seed)
        _set_threads(1)
        recipe = interpolate.Recipe(self.sources(), self.trained, self.share, self.seed)
        _print(interpolate.fit(recipe, self.out))
        _say_written(self.out, self.world)


def _print(figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:,.3f}")


def _say_written(folder: Path, world: str) -> None:
    from ellm_agent.lm_training import report

    print(f"written to {folder}; {report.command(world, folder)} asks it")


def _world(name: str, protocol: str | None = None) -> World:
    with config_files.one_line():
        world = registry.get(name)
        world.check({"protocol": protocol})
    return world


def _set_threads(threads: int) -> None:
    import torch

    cli.at_least(1, threads=threads)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    cli.script(
        lambda chosen: chosen.run(),
        Sft | RewardModel | Ppo | Ilql | Interpolate | Summary | Measure | Corpus,
        __doc__,
    )
