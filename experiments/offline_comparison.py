"""Compares agents that learn from logs: ``run DATASET...`` trains and evaluates each variant on each dataset, ``report``
makes the tables of docs/offline.md, and a figure of values, of what ``run`` left. Cells that are there already, with the same
options and the same data, are not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError

if TYPE_CHECKING:  # heavy
    from ellm_agent.evaluation.recording import Recording
    from envs.interface import Language

VARIANTS: dict[str, dict[str, Any]] = {  # name -> changed options
    "bc": {"algo": "bc"},
    "filtered-bc": {"algo": "filtered-bc"},
    "awr": {"algo": "awr"},
    "cql": {"algo": "cql"},
    "iql": {"algo": "iql"},
    "dqn": {"algo": "cql", "offline.alpha": 0.0},
    **{f"iql-tau{tau}": {"algo": "iql", "offline.expectile": tau} for tau in (0.5, 0.7, 0.9, 0.95)},
    **{f"iql-t{t}": {"algo": "iql", "offline.temperature": t} for t in (0.02, 0.05, 0.1, 0.5, 1.0)},
    **{f"awr-t{t}": {"algo": "awr", "offline.temperature": t} for t in (0.05, 0.1, 0.5, 1.0)},
    **{f"cql-alpha{a}": {"algo": "cql", "offline.alpha": a} for a in (0.01, 0.03, 0.3, 1.0)},
}
MAIN = ("bc", "filtered-bc", "awr", "cql", "iql")
POINTS = 10  # values noted in a training
DRAWN = ("dqn", "cql", "iql")  # variants whose values are drawn


LEARNING = ("batch_size", "learning_rate", "polyak", "reward")
OPTIONS = ("frames", "hidden", "episodes", *LEARNING)  # that cells of one folder share


@dataclass(frozen=True)
class Run:
    """Trains and evaluates."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Runs or datasets; results are named after their folders."""
    variants: tuple[str, ...] = MAIN
    """Names in this script's VARIANTS."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training each."""
    frames: int = 300_000
    """Transitions drawn in a training."""
    batch_size: int = 256
    """Transitions in a gradient step."""
    learning_rate: float = 1e-3
    """Adam step size."""
    polyak: float = 0.01
    """Share of the networks that slow copies take over at each step."""
    hidden: int = 64
    """Width of the networks' layers, units."""
    reward: Literal["unlocks", "logged"] = "unlocks"
    """What is learned from: 1 for each achievement, or the logged rewards (Housekeep: the oracle's)."""
    episodes: int = 30
    """Held-out worlds."""
    out: Path = Path("results/offline")
    """Folder for a JSON file of each training."""

    def run(self) -> None:
        for name in self.variants:
            if name not in VARIANTS:
                raise UserError(f"variant is {name!r}; choose among {', '.join(VARIANTS)}")
        for name in ("data", "variants", "seeds"):
            if not getattr(self, name):
                raise UserError(f"{name} is empty; name one at least")
        names = [folder.name for folder in self.data]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"two folders are named {name}, which names their results, too; rename one")
        cli.at_least(1, frames=self.frames, episodes=self.episodes, hidden=self.hidden)
        done = [self._done(name) for name in names]
        for folder, checksums in zip(self.data, done, strict=True):
            self._train(folder, checksums)

    def _path(self, data: str, variant: str, seed: int) -> Path:
        return self.out / data / f"{variant}-seed{seed}.json"

    def _done(self, data: str) -> dict[Path, str]:
        """The cells that are there already, and the checksums of the data that they learned from.

        Raises:
            UserError: if one was made with other options.
        """
        found = {}
        for path in (self._path(data, name, seed) for name in self.variants for seed in self.seeds):
            if path.exists():
                row = read_cell(path)
                for name in OPTIONS:
                    if row[name] != getattr(self, name):
                        raise UserError(
                            f"{path} was made with {name.replace('_', '-')} {row[name]}, not {getattr(self, name)}; "
                            "choose another --out"
                        )
                found[path] = row["data"]["checksum"]
        return found

    def _train(self, folder: Path, done: dict[Path, str]) -> None:
        import torch

        from ellm_agent.build import make_agent, make_suggester, make_worlds, read_log
        from ellm_agent.config import PRESETS
        from ellm_agent.config import files as config_files
        from ellm_agent.config.offline import offline_config
        from ellm_agent.datasets.logs import interface_of
        from ellm_agent.experiment import library_settings
        from ellm_agent.runs.folder import write_whole
        from ellm_agent.text.phrases import PhraseTable
        from envs import registry

        changes = {f"agent.offline.{name}": getattr(self, name) for name in LEARNING}
        with config_files.one_line():
            plain = offline_config(PRESETS["default"], interface_of(folder), (folder,))
            plain = plain.changed(**{"agent.hidden": self.hidden}, **changes)
            configs = {
                (name, seed): plain.changed(
                    **{f"agent.{option}": value for option, value in VARIANTS[name].items()},
                    **{"run.seed": seed},
                )
                for seed in self.seeds
                for name in self.variants
            }
        language = registry.get(plain.env.name).language(**plain.env.options)
        suggester, phrases = make_suggester(plain, language), PhraseTable()
        worlds = make_worlds(plain, suggester, phrases, 1)
        held_out = make_worlds(plain, suggester, phrases, self.episodes, one_episode=True)
        log, about = read_log(plain, worlds)
        for path, checksum in done.items():
            if checksum != about["checksum"]:
                raise UserError(f"{path} was made of other data than {folder}; choose another --out")
        with library_settings(plain):
            for (name, seed), config in configs.items():
                path = self._path(folder.name, name, seed)
                if path in done:
                    continue
                began = time.process_time()
                agent = make_agent(config, worlds, log=log)
                values = []
                for point in range(POINTS):
                    agent.learn(
                        self.frames * (point + 1) // POINTS - agent.num_timesteps,
                        reset_num_timesteps=not point,
                    )
                    with torch.no_grad():
                        values.append((agent.num_timesteps, _value(agent, held_out)))
                seconds = time.process_time() - began
                row = {"data": about, "variant": name, "seed": seed}
                row |= {option: getattr(self, option) for option in OPTIONS}
                row |= {"cpu_seconds": round(seconds, 1), "values": values}
                row |= _evaluate(agent, held_out, config)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, json.dumps(row, indent=1))
                print(
                    f"{folder.name} {name} seed {seed}: {row['unlocks']:.2f} unlocks, {seconds:.0f} s",
                    flush=True,
                )


def _first_observations(held_out: Any) -> Any:
    import torch

    from envs.interface import HELD_OUT_SEEDS

    held_out.set_options([{"world_seed": HELD_OUT_SEEDS + i} for i in range(held_out.num_envs)])
    return torch.from_numpy(held_out.reset())


def _value(agent: Any, held_out: Any) -> float | None:
    """The agent's mean estimate of the return from the first states of held-out worlds; None if it has none."""
    observations = _first_observations(held_out)
    if hasattr(agent.policy, "q_net"):
        return float(agent.policy.q_net(observations).max(dim=1).values.mean())
    return None if type(agent).__name__ == "BC" else float(agent.policy.predict_values(observations).mean())


def _evaluate(agent: Any, held_out: Any, config: Any) -> dict[str, Any]:
    """Unlocks, score, and the discounted return of the same states; None where other rewards were learned from."""
    from ellm_agent.evaluation.recording import record_episodes, summarise
    from ellm_agent.evaluation.scores import SuccessRates
    from envs import registry

    world, options = registry.get(config.env.name), config.agent.offline
    recordings = record_episodes(agent, held_out, config.env.name, config.env.options)
    rates = SuccessRates(world, held_out.language.achievements)
    summary = summarise(recordings, rates)
    return {
        "unlocks": summary["unlocks_per_episode"],
        "score": summary[world.score[0]],
        "length": summary["episode_length"],
        "unlocks_of_episodes": [len(recording.unlocked) for recording in recordings],
        "success_rates": rates.rates(),
        "discounted_return": (
            _discounted_return(recordings, held_out.language, options.gamma)
            if options.reward == "unlocks"
            else None
        ),
    }


def _discounted_return(recordings: Sequence[Recording], language: Language, gamma: float) -> float:
    """Mean discounted return of episodes, where each achievement that is unlocked is worth 1."""
    from ellm_agent.datasets.relabel import Unlocks

    reward = Unlocks(tuple(language.goal_of.values()) or language.goals)
    total = 0.0
    for recording in recordings:
        achieved: list[str] = []
        for frame, step in enumerate(recording.steps):
            value, new = reward(step["events"], achieved)
            achieved += new
            total += gamma**frame * value
    return total / len(recordings)


def read_cell(path: Path) -> dict[str, Any]:
    """A training's results.

    Raises:
        UserError: if the file is damaged.
    """
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        row.setdefault("episodes", len(row["unlocks_of_episodes"]))  # not in cells of version 0.10
        row = dict.fromkeys(LEARNING) | {"reward": "unlocks"} | row  # not in some of them
        missing = {*OPTIONS, "variant", "values", "unlocks", "score", "discounted_return", "cpu_seconds"} - {
            *row
        }
        if missing or "checksum" not in row["data"]:
            raise ValueError(f"no {', '.join(missing)}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} holds no results of this script; move it away") from error
    return row


@dataclass(frozen=True)
class Report:
    """Writes tables.md, and values.png: what DQN, CQL and IQL expect of the first states of held-out worlds, and get."""

    results: Path = Path("results/offline")
    """Folder that ``run`` wrote."""
    figure_of: str | None = None
    """Dataset whose values are drawn. None: the first with a variant that has values (dqn, cql, iql)."""

    def run(self) -> None:
        from ellm_agent.analysis import figures

        by_data: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(self.results.glob("*/*-seed*.json")):
            by_data.setdefault(path.parent.name, []).append(read_cell(path))
        if not by_data:
            raise UserError(f"{self.results} holds no results; make them with 'run'")
        valued = [name for name, rows in by_data.items() if any(map(_has_values, rows))]
        if self.figure_of and self.figure_of not in valued:
            raise UserError(
                f"figure-of is {self.figure_of}; {self.results} has values of {', '.join(valued) or 'no dataset'}"
            )
        (self.results / "tables.md").write_text(_tables(by_data), encoding="utf-8")
        if valued:
            drawn = self.figure_of or valued[0]
            figures.save_png(_values(drawn, by_data[drawn]), self.results / "values.png")
        print((self.results / "tables.md").read_text())


def _has_values(row: dict[str, Any]) -> bool:
    """Whether a training has estimates to draw beside the return that it then gets."""
    return row["variant"] in DRAWN and row["discounted_return"] is not None


def _values(data: str, rows: list[dict[str, Any]]) -> Any:
    """The figure of one dataset: estimates of each seed in the course of the training, and the mean return at its end."""
    from matplotlib.figure import Figure

    from ellm_agent.analysis import figures

    figure = Figure(figsize=(6.5, 4))
    axes = figure.subplots()
    for colour, name in zip(figures.COLOURS, DRAWN, strict=False):
        mine = [row for row in rows if row["variant"] == name]
        for row in mine:
            frames, values = zip(*row["values"], strict=True)
            label = f"{name}: its estimate" if row is mine[0] else None
            axes.plot([n / 1e6 for n in frames], values, color=colour, label=label)
        if mine:
            true = sum(row["discounted_return"] for row in mine) / len(mine)
            axes.axhline(true, color=colour, linestyle=":", label=f"{name}: what it then gets")
    axes.set(
        title=f"return from the first state of held-out worlds, {data}",
        xlabel="million transitions drawn",
    )
    axes.legend(fontsize=8)
    return figure


def _tables(by_data: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table for each dataset: interquartile mean over seeds of unlocks and score with its interval, means
    of other figures.
    """
    from ellm_agent.analysis.statistics import interquartile_mean

    text = []
    for name, rows in by_data.items():
        data = rows[0]["data"]
        text += [
            f"### {name}",
            "",
            f"{data['transitions']:,} transitions in {data['episodes']:,} episodes; the logged agents' mean return is "
            f"{data['mean_return']:.2f}.",
            "",
            "| variant | seeds | unlocks | score, % | estimate | return | CPU s |",
            "|---|---|---|---|---|---|---|",
        ]
        for variant in [v for v in VARIANTS if any(row["variant"] == v for row in rows)]:
            mine = [row for row in rows if row["variant"] == variant]
            unlocks, score = (
                interquartile_mean([row[key] for row in mine]).text(len(mine)) for key in ("unlocks", "score")
            )
            estimates = [row["values"][-1][1] for row in mine]
            seconds = sum(row["cpu_seconds"] for row in mine) / len(mine)
            returns = [row["discounted_return"] for row in mine]
            mean_return = "" if returns[0] is None else f"{sum(returns) / len(mine):.2f}"
            estimate = "" if estimates[0] is None else f"{sum(estimates) / len(mine):.2f}"
            text.append(
                f"| {variant} | {len(mine)} | {unlocks} | {score} | {estimate} | {mean_return} | {seconds:.0f} |"
            )
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    cli.script(lambda chosen: chosen.run(), Run | Report, __doc__)
