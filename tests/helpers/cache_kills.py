"""Kills writers of an answer cache in the middle of it, again and again: is anything lost, or believed that is not whole?

``python -m tests.helpers.cache_kills --kills 1000``; the suite kills twenty.
"""

import argparse
import hashlib
import json
import math
import mmap
import os
import random
import signal
import tempfile
import time
import traceback
from contextlib import closing
from pathlib import Path

from ellm_agent.llm.base import Answer, Prompt
from ellm_agent.llm.cache import AnswerCache

URL, NAME = "http://localhost:8000/v1", "some-model"


def question(user, **more):
    usual = {"system": "s", "max_tokens": 9, "temperature": 0.1, "logprobs": False, "version": "open-1"}
    return Prompt(**usual | {"user": user} | more)


WRITERS = 4  # at once
KILLS_PER_FILE = 40  # then another is begun
SHARED = 100  # questions that all writers ask; the others are one writer's


def write_until_killed(path, report, seed, writing, slot):
    """Puts answers; once they are committed, reports each row that is on file, and what it says.

    Args:
        path: of the cache.
        report: of this writer alone.
        seed: of what it writes.
        writing: ``writing[slot]`` is 1 while it writes.
        slot: its own.
    """
    rng = random.Random(seed)
    cache = AnswerCache(path)
    with open(report, "ab", buffering=0) as file:
        while True:
            numbers = [rng.randrange(SHARED), *rng.sample(range(SHARED, 10**9), rng.randrange(8))]
            prompts = [question(str(number)) for number in numbers]
            answers = [
                Answer(f"{n}, says {seed}. {'x' * rng.randrange(3_000)}", {"a": -1.5}) for n in numbers
            ]
            writing[slot] = 1
            cache.put(URL, NAME, prompts, answers)
            writing[slot] = 0
            kept = cache.get(URL, NAME, prompts)
            lines = [f"{n} {digest(answer)}\n" for n, answer in zip(numbers, kept, strict=True)]
            file.write("".join(lines).encode())
            time.sleep(rng.uniform(0, 0.003))  # or else the others starve: SQLite does not queue for its lock


def digest(answer):
    return hashlib.sha256(repr(answer).encode()).hexdigest()


def start_writer(*arguments):
    """Forks a writer: quicker than an interpreter of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        write_until_killed(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # which the parent takes for a failure: a writer ends by being killed


def check_reports(path, reports):
    """Each reported row is there, unchanged; the file is sound. Returns how many were reported, are there."""
    lines = {line for report in reports if report.exists() for line in whole_lines(report)}
    said = [line.split() for line in lines]
    with closing(AnswerCache(path)) as cache:
        answers = cache.get(URL, NAME, [question(number) for number, _ in said])
        lost = sum(answer is None for answer in answers)
        wrong = sum(digest(a) != d for a, (_, d) in zip(answers, said, strict=True)) - lost
        faults = list(cache.faults())
        rows = sum(group.rows for group in cache.groups())
        texts = all(row.text.startswith(f"{row.user}, says ") for row in cache.rows())
    assert (lost, wrong, faults, texts) == (0, 0, [], True), f"{path}: {lost} lost, {wrong} wrong, {faults}"
    return len(lines), rows


def whole_lines(report):
    return report.read_text().rpartition("\n")[0].splitlines()


def kill_writers(folder, kills, seed):
    """Kills at least so many writers, on a new file now and then. Returns what happened, in numbers."""
    rng = random.Random(seed)
    done = dict.fromkeys(("kills", "while_writing", "files", "rows_reported", "rows_on_file"), 0)
    while done["kills"] < kills:
        path = folder / f"{done['files']}.sqlite"
        reports = []
        for i in range(math.ceil(min(kills - done["kills"], KILLS_PER_FILE) / WRITERS)):
            new = [path.with_suffix(f".{i}-{slot}") for slot in range(WRITERS)]
            done["while_writing"] += kill_a_round(path, new, rng, wait=i % 2 == 1)
            done["kills"] += WRITERS
            reports += new
        reported, rows = check_reports(path, reports)
        done["rows_reported"] += reported
        done["rows_on_file"] += rows
        done["files"] += 1
        for file in [*reports, path]:
            file.unlink(missing_ok=True)
    return done


def kill_a_round(path, reports, rng, wait):
    """Starts a writer for each report, and kills them one by one while the others write on.

    Args:
        path: of the cache, which the dead of the round before have left as it was.
        reports: one for each writer.
        rng: chooses who dies when.
        wait: until all have written; else they may be killed while they make or open the file.

    Returns:
        How many were killed while they wrote.
    """
    writing = mmap.mmap(-1, WRITERS)  # shared with the writers
    alive = {}
    try:
        for slot, report in enumerate(reports):
            alive[slot] = start_writer(path, report, rng.random(), writing, slot)
        deadline = time.monotonic() + 60
        while wait and not all(report.exists() and report.stat().st_size for report in reports):
            assert time.monotonic() < deadline, f"a writer of {path} writes nothing"
            time.sleep(0.002)
        for slot in rng.sample(sorted(alive), WRITERS):
            time.sleep(rng.uniform(0, 0.03))
            os.kill(alive[slot], signal.SIGKILL)
            status = os.waitpid(alive.pop(slot), 0)[1]
            assert os.WIFSIGNALED(status), f"a writer of {path} failed by itself"
        return sum(writing[:])
    finally:
        for pid in alive.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main():
    parser = argparse.ArgumentParser(description="Kills writers of an answer cache: is anything lost?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = kill_writers(Path(folder), options.kills, options.seed)
    print(json.dumps({**done, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
