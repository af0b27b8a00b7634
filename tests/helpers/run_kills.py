"""Kills training runs in the middle of it, again and again: does each end as if nothing had happened, bit for bit?

``python -m tests.helpers.run_kills --kills 50``; the suite kills a few.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ellm_agent.runs import checkpoints
from tests.helpers.processes import Script, wait_for

CLOCK = ("seconds", "frames_per_second", "memory_mb", "llm/seconds")  # columns that tell the time
SMALL = [
    "--preset", "debug", "--frames", "6000", "--episode-length", "120", "--eval-episodes", "2",
    "--eval-every", "1500", "--log-every", "500", "--checkpoint-every", "700", "--replays", "0", "--no-report", "--no-tensorboard",
    "--dqn.learning-starts", "300", "--dqn.buffer-size", "2000", "--llm-every", "4", "--threads", "1",
]  # fmt: skip
KINDS = {  # what is killed
    "dqn, open": ["--goal-mode", "open"],
    "ppo, open": ["--goal-mode", "open", "--algo", "ppo"],
    "dqn, conditioned oracle": ["--goal-mode", "oracle", "--goal-conditioned", "--target", "double"],
    "ppo, rnd": ["--goal-mode", "none", "--bonus", "rnd", "--algo", "ppo"],
    "dqn, noveld": ["--goal-mode", "none", "--bonus", "noveld", "--dqn.n-steps", "3"],
    "ppo, apt": ["--goal-mode", "none", "--bonus", "apt", "--algo", "ppo"],
    "dqn, icm and closed, before it learns": [
        "--goal-mode",
        "closed",
        "--bonus",
        "icm",
        "--encoder",
        "sentence",
        "--dqn.learning-starts",
        "4500",
    ],
    "ppo, sentences, apt beside goals": [
        "--goal-mode",
        "open",
        "--bonus",
        "apt",
        "--encoder",
        "sentence",
        "--algo",
        "ppo",
        "--extrinsic-weight",
        "1",
    ],
    "ppo, attempts, one goal at a time": [
        "--goal-mode",
        "open",
        "--success",
        "attempt",
        "--goal-conditioned",
        "--max-active-goals",
        "1",
        "--algo",
        "ppo",
    ],
    "ppo, closed, many homes": [
        "--world",
        "housekeep",
        "--protocol",
        "homes",
        "--goal-mode",
        "closed",
        "--algo",
        "ppo",
    ],
    "trpo, package": [
        "--goal-mode",
        "novelty",
        "--algo",
        "trpo",
        "--backend",
        "package",
        "--protocol",
        "ellm",
    ],
}


def start(*arguments: object) -> Script:
    """A run of the main script."""
    return Script("run_crafter.py", *arguments)


def finish(process: Script) -> None:
    _, output = process.communicate(timeout=600)
    assert process.returncode == 0, output


def outcome(folder: Path) -> dict[str, object]:
    """Everything that a run leaves, without times: rows of its logs as text, and its last checkpoint."""
    left: dict[str, object] = {}
    for log in ("episodes", "metrics", "evaluations"):
        lines = (folder / f"{log}.jsonl").read_text().splitlines()
        rows = [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]
        left[log] = [json.dumps(row) for row in rows]
    _, state = checkpoints.latest(folder / "checkpoints")
    del state["counters"]["seconds"]
    state["worlds"]["suggester"].pop("model", None)  # its seconds
    return left | {"state": state}


def differences(one: object, other: object, where: str = "") -> Iterator[str]:
    """Where two outcomes differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from differences(one.get(key), other.get(key), f"{where}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}/{i}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape or not torch.equal(one, other):
            yield f"{where}: tensors of shapes {tuple(one.shape)} and {tuple(other.shape)}"
    elif one != other:
        yield f"{where}: {str(one)[:200]} and {str(other)[:200]}"


def kill_after(folder: Path, arguments: Sequence[object], frames: int, number: int) -> None:
    """Runs to the end, killed once when a checkpoint of so many frames is there."""
    process = start(*arguments, "--out", folder)

    def is_there() -> bool:
        found = (folder / "checkpoints").glob("*.pt")
        return any(checkpoints.frames_of(path) >= frames for path in found) or process.poll() is not None

    wait_for(is_there)
    process.send_signal(number)
    process.wait()
    assert process.returncode in (-number, 128 + number), process.output()[1]
    finish(start("--resume", folder))


def kill_at_random(folder: Path, arguments: list[str], kills: int, rng: random.Random, longest: float) -> int:
    """Runs to the end, killed on the way; returns how many kills came before the end."""
    came = 0
    process = start(*arguments, "--out", folder)
    for _ in range(kills):
        while not (folder / "config.yaml").exists() and process.poll() is None:
            time.sleep(0.05)  # before that there is no run that could go on
        time.sleep(rng.uniform(0, longest))
        if process.poll() is not None:
            break
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.wait()
        came += 1
        process = start("--resume", folder)
    finish(process)
    return came


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each", type=int, default=3, help="kills of one run, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    rng, done, wrong = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        whole: dict[str, tuple[dict, float]] = {}
        i = 0
        while done < options.kills:
            kind = options.kinds[i % len(options.kinds)]
            if kind not in whole:
                began = time.monotonic()
                folder = Path(temporary) / f"whole{i}"
                finish(start(*SMALL, *KINDS[kind], "--out", folder))
                whole[kind] = outcome(folder), time.monotonic() - began
            wanted, seconds = whole[kind]
            folder = Path(temporary) / f"killed{i}"
            kills = min(options.each, options.kills - done)
            came = kill_at_random(folder, [*SMALL, *KINDS[kind]], kills, rng, seconds)
            found = list(differences(wanted, outcome(folder)))
            done += came
            wrong += bool(found)
            print(f"{kind}: {came} kills, {'; '.join(found[:5]) or 'equal'}; {done} in all", flush=True)
            shutil.rmtree(folder)
            i += 1
    print(f"{done} kills, {wrong} runs that ended otherwise")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
