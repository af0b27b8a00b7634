"""A trained agent as a folder that plays anywhere and that the Hugging Face hub can hold. Loading one runs no code from it.

README.md            model card: what it is, results, how to play it (with metadata of the hub)
agent.safetensors    the policy's parameters without rows of zeros (phrases that were never observed), and the vectors
                     of phrases that SentenceBERT does not give again, bit for bit
agent.json           format, names of shared parameters, lengths of those without rows of zeros, the phrases' texts, what
                     its suggester knows, frames, checksums of the files
config.yaml          the configuration of its run
results.json         the run's results, and the episodes of its last evaluation: world seeds and actions
episode.gif          the best of them, if the world can be drawn
LICENSE
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensors_to_bytes

import ellm_agent
from ellm_agent.build import make_suggester
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.llm.factory import names_shipped
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import Pretrained, trained_agent
from ellm_agent.sharing import card, vectors
from ellm_agent.terminal import print_stderr
from envs import registry

FORMAT = 2
READABLE = (1, 2)  # in format 1 all vectors are in the folder
AGENT, WEIGHTS, CONFIG, RESULTS, CARD = (
    "agent.json",
    "agent.safetensors",
    "config.yaml",
    "results.json",
    "README.md",
)
GIF, LICENCE = "episode.gif", "LICENSE"
CHECKED = (WEIGHTS, CONFIG, RESULTS)  # by their checksums
VECTORS = "phrases"  # name of the phrases' vectors beside the policy's parameters
GIF_FRAMES = 12  # and those with a reward: about .3 MB
POLICY, ROWS = "policy.", ".rows"  # before and behind names of parameters


@dataclass(frozen=True)
class Played:
    """What identifies an episode: equal ones were played alike.

    Attributes:
        world_seed: of the world.
        actions: one per frame.
    """

    world_seed: int
    actions: tuple[int, ...]

    @classmethod
    def of(cls, recording: Recording) -> Played:
        return cls(recording.world_seed, tuple(recording.actions))


@dataclass(frozen=True)
class SharedAgent:
    """What a folder holds.

    Attributes:
        config: of the run that trained it, without paths of its machine.
        agent: its networks and phrases.
        suggester: the state of its suggester.
        likely_goals: of its language model, see ``LanguageModel``; the agent's vectors are whitened over them, too.
        results: ``evaluation`` (means of the last one) and more, see ``write``.
        episodes: of the last evaluation.
    """

    config: Config
    agent: Pretrained
    suggester: dict[str, Any]
    likely_goals: tuple[str, ...]
    results: dict[str, Any]
    episodes: tuple[Played, ...]


def is_shared(folder: Path) -> bool:
    """Whether a folder holds a shared agent, and no run."""
    return (folder / AGENT).is_file()


def write(run: Run, target: Path) -> None:
    """Makes the folder of a run's agent, whole or not at all.

    Args:
        run: a run; if it has not ended, its last checkpoint is shared, without results.
        target: the new folder.

    Raises:
        UserError: if the run has no agent, or the folder exists or cannot be written.
    """
    if target.exists():
        raise UserError(f"{target} exists; choose another --out, or delete it")
    trained = trained_agent(run)
    with checkpoints.readable(trained.source):
        state = checkpoints.read(trained.source)
        suggester = state["worlds"]["suggester"]
    recordings = [Recording.load(path) for path in sorted(run.replays.glob("*.json"))]
    summary = _summary(run)
    for name, value in run.config.env.own.items():
        if Path(value).exists():
            raise UserError(
                f"{run.folder} was played with --{name} {value}: agents that need files of this machine cannot be shared"
            )
    config = _portable(run.config)
    if "suggester" in summary:
        summary["suggester"] = _public(summary["suggester"], run.config)
    results = {
        "summary": {name: summary[name] for name in card.RESULTS if name in summary},
        "evaluation": summary.get("evaluation", {}),
        "episodes": [vars(Played.of(recording)) for recording in recordings],
    }
    tensors, same = _distinct({POLICY + name: tensor for name, tensor in trained.state["policy"].items()})
    tensors, lengths = _without_zeros(tensors)
    phrases, likely = trained.state["phrases"], _likely_goals(run.config)
    known = _known(run.config, likely, suggester, phrases)
    files = {
        WEIGHTS: tensors_to_bytes({**tensors, VECTORS: phrases["vectors"][len(known) :].contiguous()}),
        CONFIG: config_files.to_yaml(config).encode(),
        RESULTS: json.dumps(results).encode(),
        LICENCE: (distribution("ellm-agent").read_text(f"licenses/{LICENCE}") or "MIT\n").encode(),
        CARD: card.render(config, trained.state["frames"], summary, bool(recordings)).encode(),
    }
    files[AGENT] = json.dumps(
        {
            "format": FORMAT,
            "version": ellm_agent.__version__,
            "frames": trained.state["frames"],
            "same": same,
            "lengths": lengths,
            "phrases": phrases["texts"],
            "suggester": suggester,
            "known": {"phrases": len(known), "sha256": vectors.digest(known)},
            "likely_goals": likely,
            "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in CHECKED},
        }
    ).encode()
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        _draw(config, recordings, partial / GIF)
        partial.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(folder: Path) -> SharedAgent:
    """Reads what ``write`` wrote.

    Raises:
        UserError: if it is no such folder, or damaged, or of a newer version.
    """
    try:
        data = json.loads((folder / AGENT).read_bytes())
        contents = {name: (folder / name).read_bytes() for name in CHECKED}
        if data["format"] not in READABLE:
            raise UserError(
                f"{folder} has format {data['format']!r}, of version {data['version']}; this version reads {READABLE}"
            )
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != data["sha256"][name]:
                raise UserError(
                    f"{folder / name} is damaged: its checksum is wrong; download or share it again"
                )
        tensors = read_tensors(contents[WEIGHTS])
        for name, length in data.get("lengths", {}).items():
            tensors[name] = _with_zeros(tensors[name], tensors.pop(name + ROWS), length)
        tensors |= {name: tensors[first] for name, first in data["same"].items()}
        policy = {
            name.removeprefix(POLICY): tensor for name, tensor in tensors.items() if name.startswith(POLICY)
        }
        phrases = {"texts": data["phrases"], "vectors": tensors[VECTORS]}
        known = data.get("known", {"phrases": 0, "sha256": ""})
        count, digest = int(known["phrases"]), str(known["sha256"])
        state = {"policy": policy, "phrases": phrases, "frames": int(data["frames"])}
        results = json.loads(contents[RESULTS])
        episodes = tuple(Played(own["world_seed"], tuple(own["actions"])) for own in results["episodes"])
        suggester, likely = dict(data["suggester"]), tuple(map(str, data["likely_goals"]))
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise UserError(
            f"{folder} holds no shared agent, or a damaged one ({type(error).__name__})"
        ) from error
    config = config_files.load(folder / CONFIG)
    if count:
        with checkpoints.readable(folder / AGENT):
            again = vectors.known_phrases(config, vectors.remembering_suggester(config, likely, suggester))
            phrases["vectors"] = _joined(again, count, digest, phrases, folder)
    return SharedAgent(
        config, Pretrained(config, state, folder / WEIGHTS), suggester, likely, results, episodes
    )


def _known(config: Config, likely: Sequence[str], suggester: Mapping[str, Any], phrases) -> np.ndarray:
    """The vectors at the front of a phrase table that are computed again to the same bits, ``(n, 384)``."""
    texts, again = vectors.known_phrases(config, vectors.remembering_suggester(config, likely, suggester))
    n = len(texts)
    same = phrases["texts"][:n] == texts and np.array_equal(phrases["vectors"][:n].numpy(), again)
    return again if same else again[:0]


def _joined(again, count: int, digest: str, phrases: Mapping[str, Any], folder: Path) -> torch.Tensor:
    """All vectors: those computed again, and those of the folder. Raises ValueError if they are of other phrases.

    Args:
        again: texts and vectors that were computed again.
        count: how many the folder leaves out.
        digest: their checksum.
        phrases: texts of all, and the other vectors.
        folder: of the agent.
    """
    texts, first = again
    if len(texts) != count or phrases["texts"][: len(texts)] != texts:
        raise ValueError("it reads phrases that this version's worlds do not have")
    if vectors.digest(first) != digest:
        print_stderr(
            f"note: SentenceBERT's vectors differ here in their last bits from those of {folder}; the agent is the same, its"
            " episodes may not be"
        )
    return torch.cat([torch.from_numpy(first), phrases["vectors"]])


def _distinct(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors without those that are another one under a second name, and which those are: name -> the first name."""
    firsts: dict[int, str] = {}
    same = {}
    for name, tensor in tensors.items():
        first = firsts.setdefault(tensor.data_ptr() or id(tensor), name)
        if first != name:
            same[name] = first
    return {name: tensor.contiguous() for name, tensor in tensors.items() if name not in same}, same


def _without_zeros(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """Tensors without the rows of zeros of those that have many, the numbers of the others' rows under NAME.rows, and how
    many rows each of those had.
    """
    found, lengths = dict(tensors), {}
    for name, tensor in tensors.items():
        rows = tensor.flatten(1).any(1).nonzero().flatten() if tensor.dim() > 1 else ()
        if tensor.dim() > 1 and 2 * len(rows) < len(tensor):
            found |= {name: tensor[rows].contiguous(), name + ROWS: rows.int()}
            lengths[name] = len(tensor)
    return found, lengths


def _with_zeros(tensor: torch.Tensor, rows: torch.Tensor, length: int) -> torch.Tensor:
    """Undoes ``_without_zeros`` for a tensor. Raises IndexError: for rows beyond the length."""
    whole = tensor.new_zeros(length, *tensor.shape[1:])
    whole[rows.long()] = tensor
    return whole


def _portable(config: Config) -> Config:
    """A configuration that names no path of this machine, and no server."""
    llm = config.suggester.llm
    return config.changed(
        **{
            "run.out": None,
            "run.track": None,
            "suggester.llm.folder": None,
            "suggester.llm.gguf": None,
            "suggester.llm.answers": llm.answers if _brought(config) else None,
            "suggester.llm.base_url": None,
            "suggester.llm.cache": "off",
            "reward.preference.recordings": None,
            "agent.offline.data": tuple(Path(path.name) for path in config.agent.offline.data),
            "transfer": {"mode": "none"},
        }
    )


def _brought(config: Config) -> bool:
    """Whether recorded answers suggest that come with the world."""
    suggester = config.suggester
    return names_shipped(suggester.llm.answers, registry.get(config.env.name), suggester.kind)


def _public(description: str, config: Config) -> str:
    """A suggester's description that names no path of this machine, and no server."""
    llm = config.suggester.llm
    answers = None if _brought(config) else llm.answers
    private = (llm.folder, llm.gguf, answers, llm.base_url, llm.kind in ("endpoint", "replay"))
    if not config.suggester.asks_model or not any(private):
        return description
    model = f" {llm.model}" if llm.model else ""
    return f"{config.suggester.kind}-form goals from a language model{model} ({llm.kind})"


def _likely_goals(config: Config) -> list[str]:
    """Goals that the run's language model was known to suggest beforehand: the bundled one's, as only it says."""
    if not config.suggester.asks_model or config.suggester.llm.kind != "bundled":
        return []
    language = registry.get(config.env.name).language(**config.env.options)
    return list(make_suggester(config, language).likely_goals)


def _summary(run: Run) -> dict[str, Any]:
    """The run's summary; empty if it has not ended."""
    try:
        return json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{run.folder / 'summary.json'} cannot be read; resume the run to write it again"
        ) from error


def _draw(config: Config, recordings: Sequence[Recording], path: Path) -> None:
    """Draws the best of a run's episodes, which stands first, if there is one and its world can be drawn."""
    from ellm_agent.evaluation.rendering import can_draw, write_gif

    if recordings and can_draw(config):
        write_gif(recordings[0], path, GIF_FRAMES, shrink=3)
