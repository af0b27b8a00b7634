"""The record of answers: nothing lost, nothing asked twice, nothing believed that is not whole."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ellm_agent.errors import UserError
from ellm_agent.llm import cache as cache_module
from ellm_agent.llm.base import Answer, Prompt
from ellm_agent.llm.cache import AnswerCache, default_path
from experiments.llm_cache import Export, Import, Stats, Verify
from tests.helpers import processes
from tests.helpers.cache_kills import NAME, URL, question

ROOT = Path(__file__).resolve().parents[2]


any_text = st.text(max_size=12)  # NUL too


any_prompt = st.builds(
    Prompt,
    system=any_text,
    user=any_text,
    max_tokens=st.integers(1, 999),
    temperature=st.floats(0, 2),
    logprobs=st.booleans(),
    version=any_text,
    schema=any_text,
)


any_answer = st.builds(
    Answer,
    text=any_text,
    logprobs=st.dictionaries(any_text, st.floats(max_value=0, allow_nan=False), max_size=5),
    prompt_tokens=st.integers(0, 2**40),
    answer_tokens=st.integers(0, 2**40),
)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(any_prompt, any_answer, min_size=1, max_size=5), any_text, any_text)
def test_whatever_is_put_comes_back_and_survives_export(answers, source, name):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("a.sqlite", "a.jsonl", "b.sqlite", "b.jsonl")]
        with closing(AnswerCache(files[0])) as cache:
            cache.put(source, name, [*answers], [*answers.values()])
        with closing(AnswerCache(files[0])) as cache:
            assert cache.get(source, name, [*answers]) == [*answers.values()]
            assert list(cache.faults()) == []
        Export(cache=files[0], file=files[1]).run()
        Import(cache=files[2], file=files[1]).run()
        Export(cache=files[2], file=files[3]).run()
        assert files[1].read_bytes() == files[3].read_bytes()
        assert len(files[1].read_text().splitlines()) == len(answers)


def test_a_question_is_another_if_any_part_of_it_is(cache):
    asked = question("u")
    cache.put(URL, NAME, [asked], [Answer("yes")])
    others = [
        replace(asked, **{part: value})
        for part, value in {
            "system": "t", "user": "v", "max_tokens": 8, "temperature": 0.2, "logprobs": True,
            "version": "open-2", "schema": "{}", "continuations": (" yes",),
        }.items()
    ]  # fmt: skip
    assert len(others) == len(vars(asked))
    assert cache.get(URL, NAME, [asked, *others]) == [Answer("yes")] + [None] * len(others)
    assert cache.get("http://localhost:8001/v1", NAME, [asked]) == [None]
    assert cache.get(URL, "another-model", [asked]) == [None]
    assert cache.get(URL, NAME, [replace(asked, system="su", user="")]) == [None]


def test_equal_numbers_make_equal_questions(cache):
    cache.put(URL, NAME, [question("u", temperature=0)], [Answer("yes")])
    assert cache.get(URL, NAME, [question("u", temperature=0.0)]) == [Answer("yes")]


def test_the_first_answer_stays(cache, cache_path):
    a, b = question("a"), question("b")
    assert cache.put(URL, NAME, [a, a], [Answer("first"), Answer("again")]) == 1
    with closing(AnswerCache(cache_path)) as other:
        assert other.put(URL, NAME, [a, b], [Answer("second"), Answer("new")]) == 1
        assert other.put(URL, NAME, [], []) == 0
    assert cache.get(URL, NAME, [a, b]) == [Answer("first"), Answer("new")]


def test_many_at_once(cache):
    prompts = [question(str(i)) for i in range(2_500)]
    assert cache.put(URL, NAME, prompts, [Answer(p.user) for p in prompts]) == 2_500
    assert [answer.text for answer in cache.get(URL, NAME, prompts)] == [p.user for p in prompts]


def damage(cache_path, how):
    """Makes an answer cache of 50 rows, and damages it."""
    with closing(AnswerCache(cache_path)) as cache:
        cache.put(URL, NAME, [question(str(i)) for i in range(50)], [Answer("x" * 999)] * 50)
    content = cache_path.read_bytes()
    if how == "format":
        with closing(sqlite3.connect(cache_path)) as connection:
            connection.execute("PRAGMA user_version = 2")
        return
    cache_path.write_bytes(
        {
            "cut off": content[: len(content) // 2],
            "cut off at once": content[:300],
            "text": b'{"answer": "yes"}\n' * 99,
            "header": bytes(100) + content[100:],
            "schema": content[:100] + b"\xff" * 4000 + content[4100:],
        }[how]
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut off", "is damaged; move it away"),
        ("cut off at once", "is damaged; move it away"),
        ("text", "is no answer cache; name another"),
        ("header", "is no answer cache; name another"),
        ("schema", "is damaged; move it away"),
        ("format", "is an answer cache of format 2, not 1; move it away"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_whole_cache_of_ours_is_named_and_left_alone(cache_path, how, message, read_only):
    damage(cache_path, how)
    before = cache_path.read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        AnswerCache(cache_path, read_only)
    assert str(cache_path) in str(caught.value)
    assert cache_path.read_bytes() == before
    assert [file.name for file in cache_path.parent.iterdir()] == [cache_path.name]


def test_another_programs_database_is_left_alone(tmp_path):
    cache_path = tmp_path / "others.sqlite"
    with closing(sqlite3.connect(cache_path)) as connection:
        connection.execute("CREATE TABLE answers (key TEXT)")
    before = cache_path.read_bytes()
    with pytest.raises(UserError, match="is no answer cache"):
        AnswerCache(cache_path)
    assert cache_path.read_bytes() == before


def test_an_empty_file_is_begun_but_not_read(tmp_path):
    cache_path = tmp_path / "empty"
    cache_path.touch()
    with pytest.raises(UserError, match="is no answer cache"):
        AnswerCache(cache_path, read_only=True)
    AnswerCache(cache_path).close()
    AnswerCache(cache_path, read_only=True).close()


@pytest.mark.parametrize("where", ["/proc/nowhere/answers.sqlite", "/proc/version", "."])
def test_what_cannot_be_written_is_named(where):
    with pytest.raises(UserError, match=where):
        AnswerCache(where)


def test_a_read_only_file_is_named_unless_only_read(cache_path, monkeypatch):
    with closing(AnswerCache(cache_path)) as cache:
        cache.put(URL, NAME, [question("a")], [Answer("b")])
    connect = sqlite3.connect

    def without_rights(url, *args, **options):
        return connect(url.partition("?")[0] + "?mode=ro", *args, **options)

    # Tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(sqlite3, "connect", without_rights)
    with pytest.raises(UserError, match="make it writable"):
        AnswerCache(cache_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with closing(AnswerCache(cache_path, read_only=True)) as cache:
        assert cache.get(URL, NAME, [question("a")]) == [Answer("b")]
        with pytest.raises(UserError, match="readonly"):
            cache.put(URL, NAME, [question("c")], [Answer("d")])


def test_a_locked_file_is_named_but_can_be_read(cache, cache_path, monkeypatch):
    cache.put(URL, NAME, [question("a")], [Answer("b")])
    monkeypatch.setattr(cache_module, "TIMEOUT", 0.01)
    with closing(sqlite3.connect(cache_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="is locked by another process; try again"):
            AnswerCache(cache_path)
        assert cache.get(URL, NAME, [question("a")]) == [Answer("b")]


def test_a_missing_file_is_not_made_to_be_read(cache_path):
    with pytest.raises(UserError, match="there is no answer cache"):
        AnswerCache(cache_path, read_only=True)
    assert not cache_path.exists()


def test_the_default_file(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_path() == Path("/x/ellm_agent/answers.sqlite")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_path() == Path.home() / ".cache" / "ellm_agent" / "answers.sqlite"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row | {"user": "other"}, "is not that of the question"),
        (
            lambda row: row | {"parameters": row["parameters"] | {"max_tokens": 8}},
            "is not that of the question",
        ),
        (lambda row: row | {"parameters": []}, "parameters: Input should be"),
        (lambda row: row | {"logprobs": {"Yes": "-1"}}, "logprobs.Yes: Input should be a valid number"),
        (lambda row: row | {"text": None}, "text: Input should be a valid string"),
        (
            lambda row: row | {"prompt_tokens": -1},
            "prompt_tokens: Input should be greater than or equal to 0",
        ),
        (
            lambda row: row | {"answer_tokens": 2**63},
            "answer_tokens: Input should be less than 9223372036854775808",
        ),
        (lambda row: row | {"api_key": "sk-1"}, "api_key: Extra inputs are not permitted"),
        (lambda row: {c: v for c, v in row.items() if c != "logprobs"}, "logprobs: Field required"),
        (lambda row: {c: v for c, v in row.items() if c != "text"}, "text: Field required"),
        (lambda row: [], "Input should be a valid dictionary"),
        (lambda row: "\udc80", "Input should be a valid dictionary"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_imported(cache_path, tmp_path, change, message):
    with closing(AnswerCache(cache_path)) as cache:
        cache.put(URL, NAME, [question("a"), question("b")], [Answer("1"), Answer("2", {"Yes": -1.5})])
    exported, wrong, other = (tmp_path / name for name in ("a.jsonl", "wrong.jsonl", "other.sqlite"))
    Export(cache=cache_path, file=exported).run()
    first, second = exported.read_text().splitlines()
    wrong.write_text(f"{first}\n{json.dumps(change(json.loads(second)))}\n")
    with pytest.raises(UserError, match=rf"line 2 of .*wrong.jsonl is wrong, nothing .*{message}"):
        Import(cache=other, file=wrong).run()
    assert not other.exists()


@pytest.mark.parametrize("line", [b"\n", b"{", b"\xff\n", b"[" * 9_999, b"[1e999]", b"9" * 5_000])
def test_lines_that_are_no_json_are_named(tmp_path, line):
    (tmp_path / "file").write_bytes(line)
    with pytest.raises(UserError, match="line 1 of"):
        Import(cache=tmp_path / "other.sqlite", file=tmp_path / "file").run()


def test_an_export_that_fails_leaves_the_old_one(cache_path, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    damage(cache_path, "text")
    with pytest.raises(UserError):
        Export(cache=cache_path, file=target).run()
    assert target.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"folder", "out.jsonl"}


def test_verify_finds_altered_rows_and_damaged_pages(cache_path, capsys):
    with closing(AnswerCache(cache_path)) as cache:
        cache.put(URL, NAME, [question(str(i)) for i in range(50)], [Answer("x" * 999)] * 50)
    Verify(cache=cache_path).run()
    assert "is sound: 50 answers" in capsys.readouterr().out
    with closing(sqlite3.connect(cache_path)) as connection:
        connection.execute("UPDATE answers SET user = 'other' WHERE rowid < 3")
        connection.commit()
    with pytest.raises(UserError, match=r"is damaged: row .* is not that of the question \(and 1 more\)"):
        Verify(cache=cache_path).run()
    content = bytearray(cache_path.read_bytes())
    content[40_000:44_096] = b"\xff" * 4096
    cache_path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        Verify(cache=cache_path).run()


def script(*arguments):
    return processes.script("llm_cache.py", *arguments)


def test_the_command_line_from_export_to_verify(cache_path, tmp_path):
    with closing(AnswerCache(cache_path)) as cache:
        asked = [question("ab"), question("ü")]
        cache.put(URL, NAME, asked, [Answer(prompt.user[::-1], {}, 7, 3) for prompt in asked])
    exported, again, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "other.sqlite"))
    assert script("export", exported, "--cache", cache_path).stdout == f"2 answers written to {exported}\n"
    for new in (2, 0):
        done = script("import", exported, "--cache", other)
        assert (done.returncode, done.stdout) == (0, f"{new} new of 2 answers added to {other}\n")
    Export(cache=other, file=again).run()
    assert exported.read_bytes() == again.read_bytes()
    printed = script("stats", "--cache", other).stdout
    assert f"{other}: 2 answers, 0.0 MB" in printed
    assert f"some-model at {URL}, open-1: 2 answers, 14 prompt tokens, 6 answer tokens" in printed
    assert script("verify", "--cache", other).stdout == f"{other} is sound: 2 answers\n"
    other.write_bytes(other.read_bytes()[:9_000])
    done = script("verify", "--cache", other)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {other} is damaged")
    assert done.stderr.count("\n") == 1


def test_stats_of_answers_without_a_url(cache_path, capsys):
    with closing(AnswerCache(cache_path)) as cache:
        cache.put("", "script", [question("a")], [Answer("b")])
    Stats(cache=cache_path).run()
    assert "script at no URL, open-1: 1 answers, 0 prompt tokens, 0 answer" in capsys.readouterr().out


def test_a_record_from_elsewhere_cannot_paint_the_terminal(cache_path, capsys):
    with closing(AnswerCache(cache_path)) as cache:
        cache.put("http://x\x1b]0;title\x07/v1", "m\x1b[31m", [question("a")], [Answer("b")])
    Stats(cache=cache_path).run()
    printed = capsys.readouterr().out
    assert r"m\x1b[31m at http://x\x1b]0;title\x07/v1" in printed
    assert "\x1b" not in printed
    with closing(sqlite3.connect(cache_path)) as connection:
        connection.execute("UPDATE answers SET key = ?", ("\x1b[2J",))
        connection.commit()
    done = script("verify", "--cache", cache_path)
    assert done.returncode == 2
    assert r"\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr


def test_killed_writers_lose_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.cache_kills", "--kills", "20"],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["kills"] == 20
    assert numbers["rows_on_file"] >= numbers["rows_reported"] > 0
