"""Models over the answer cache: recorded answers are not asked for again, and cost nothing."""

import json
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.llm.cache import CachedModel, ReplayModel
from tests.helpers.cache_kills import NAME, URL, question


class Recorder(LanguageModel):
    """A model that keeps what it was asked, and answers the question reversed at a cost of 7 + 3 tokens."""

    description, source, name, in_process = "a recorder", URL, NAME, False

    def __init__(self, failing=()):
        self.asked, self.failing = [], failing

    def answer(self, prompts):
        self.asked.append([prompt.user for prompt in prompts])
        return [
            LanguageModelError("gone", "timeout")
            if p.user in self.failing
            else Answer(p.user[::-1], {}, 7, 3)
            for p in prompts
        ]

    def metrics(self):
        return {"llm/seconds": 1.0}


def test_only_what_is_missing_is_asked_and_once(cache):
    model = Recorder()
    cached = CachedModel(model, cache)
    assert (cached.source, cached.name, cached.in_process) == (URL, NAME, False)
    answers = cached.answer([question("ab"), question("cd"), question("ab")])
    assert answers == [Answer("ba", {}, 7, 3), Answer("dc", {}, 7, 3), Answer("ba")]
    assert cached.answer([question("cd"), question("ef")]) == [Answer("dc"), Answer("fe", {}, 7, 3)]
    assert model.asked == [["ab", "cd"], ["ef"]]
    assert cached.metrics() == {
        "llm/seconds": 1, "llm/cache_hits": 1, "llm/cache_misses": 3, "llm/cache_failures": 0
    }  # fmt: skip
    assert CachedModel(model, cache).answer([question("ab")]) == [Answer("ba")]
    assert cached.answer([]) == []
    assert len(model.asked) == 2


def test_errors_are_told_but_not_kept(cache):
    model = Recorder(failing=("ab",))
    cached = CachedModel(model, cache)
    for _ in range(2):
        first, good, again = cached.answer([question("ab"), question("cd"), question("ab")])
        assert isinstance(first, LanguageModelError)
        assert again is first
        assert good.text == "dc"
    assert model.asked == [["ab", "cd"], ["ab"]]
    assert [row.user for row in cache.rows()] == ["cd"]


def test_threads_share_a_cache(cache):
    cached = CachedModel(Recorder(), cache)

    def work(seed):
        prompts = [question(str(random.Random(seed * 50 + i).randrange(200))) for i in range(50)]
        return [
            answer.text == prompt.user[::-1]
            for i in range(0, 50, 5)
            for prompt, answer in zip(prompts[i : i + 5], cached.answer(prompts[i : i + 5]), strict=True)
        ]

    with ThreadPoolExecutor(8) as pool:
        assert all(all(right) for right in pool.map(work, range(16)))
    assert list(cache.faults()) == []


def test_a_full_disk_does_not_end_training(cache, capsys):
    cache.put(URL, NAME, [question("ab")], [Answer("ba")])
    cache._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own way of a full disk
    model = Recorder()
    cached = CachedModel(model, cache)
    for i in range(3):
        long = question(f"{i}" * 9_000)
        assert [answer.text for answer in cached.answer([question("ab"), long])] == ["ba", long.user]
    printed = capsys.readouterr().err
    assert printed.count("warning") == 1
    assert "disk is full; make it writable, make room" in printed
    assert cached.metrics()["llm/cache_failures"] == 3
    cache._connection.execute("PRAGMA max_page_count = 1000000")
    cached.answer([question("cd")])
    assert cache.get(URL, NAME, [question("cd")]) == [Answer("dc", {}, 7, 3)]


def test_an_unreadable_cache_does_not_end_training(cache, capsys):
    cache.put(URL, NAME, [question("ab")], [Answer("ba")])
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute("UPDATE answers SET logprobs = '{'")
    cached = CachedModel(Recorder(), cache)
    assert cached.answer([question("ab")]) == [Answer("ba", {}, 7, 3)]
    assert "is damaged" in capsys.readouterr().err


def test_replaying_needs_no_model_and_costs_nothing(cache):
    CachedModel(Recorder(), cache).answer([question("ab")])
    replay = ReplayModel(cache)
    assert not replay.can_be_asked_ahead
    assert (replay.source, replay.name, replay.in_process) == (URL, NAME, True)
    examples = "An example.\nWhat now?\n" * 9
    known, unknown = replay.answer(
        [question("ab"), question(f"{examples}You see {'grass, ' * 99}cow.\nWhy?\n")]
    )
    assert known == Answer("ba")
    assert unknown.kind == "never_asked"
    assert "some-model to: You see grass" in str(unknown)
    assert str(unknown).endswith("cow. Why?")
    assert len(str(unknown)) < 300
    assert replay.metrics() == {"llm/cache_hits": 1, "llm/cache_misses": 1}
    again = ReplayModel(cache)
    again.load_state_dict(json.loads(json.dumps(replay.state_dict())))
    assert again.metrics() == replay.metrics()


def test_replaying_needs_to_know_whom(cache):
    with pytest.raises(UserError, match="holds no answers"):
        ReplayModel(cache)
    for source, name in ((URL, "m"), (URL, "n"), ("", "m")):
        cache.put(source, name, [question("a")], [Answer(f"{source} {name}")])
    message = "several models; choose with --llm-model and --llm-base-url among 'm' at '', 'm' at 'http://loc"
    for source, name in ((None, None), (None, "m"), (URL, None)):
        with pytest.raises(UserError, match=message):
            ReplayModel(cache, source, name)
    with pytest.raises(UserError, match="no such answers"):
        ReplayModel(cache, "", "n")
    assert ReplayModel(cache, "", None).answer([question("a")]) == [Answer(" m")]
    assert ReplayModel(cache, None, "n").answer([question("a")]) == [Answer(f"{URL} n")]
