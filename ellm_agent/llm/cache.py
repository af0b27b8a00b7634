"""The answer cache, an SQLite file, so that no question is paid for twice; and the language models over it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.terminal import print_stderr

FORMAT = 1  # of the file: SQLite's user_version
APPLICATION = 0x454C4C4D  # "ELLM": SQLite's application_id
TIMEOUT = 30.0  # seconds to wait for other processes
LONGEST_QUESTION = 160  # characters of a question in an error message

_WHY = {  # by SQLite's name of the error
    "NOTADB": "is no answer cache; name another file",
    "CORRUPT": "is damaged; move it away and begin anew, or import an export of it",
    "BUSY": "is locked by another process; try again when that has ended",
}
_MEND = "make it writable, make room on the disk, or name another file"


def default_path() -> Path:
    """The default file."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ellm_agent" / "answers.sqlite"


_Count = Annotated[int, Field(ge=0, lt=2**63)]


class Row(BaseModel):
    """A recorded question and its answer. In the file, ``parameters`` and ``logprobs`` are JSON.

    Raises:
        pydantic.ValidationError: for wrong types, or a key that is not that of the question.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    key: str
    source: str
    model: str
    version: str
    parameters: dict[str, Any]
    system: str
    user: str
    text: str
    logprobs: dict[str, float]
    prompt_tokens: _Count
    answer_tokens: _Count
    created: str  # UTC, ISO 8601

    @model_validator(mode="after")
    def _check_key(self) -> Row:
        question = (self.source, self.model, self.version, self.parameters, self.system, self.user)
        if self.key != _key(question):
            raise ValueError(f"key {self.key:.16} is not that of the question")
        return self

    @classmethod
    def of_columns(cls, columns: Sequence[str | int]) -> Row:
        """The row in these columns of the file."""
        values = dict(zip(cls.model_fields, columns, strict=True))
        return cls(**values | {name: json.loads(values[name]) for name in ("parameters", "logprobs")})

    def columns(self) -> list[str | int]:
        """Its columns in the file."""
        return [json.dumps(value) if isinstance(value, dict) else value for _, value in self]


class Group(NamedTuple):
    """Number and size of one model's answers to one version of the prompts."""

    source: str
    model: str
    version: str
    rows: int
    prompt_tokens: int
    answer_tokens: int


class AnswerCache:
    """An SQLite file of answers, for several threads and processes at once (not over a network file system).

    Each ``put`` is a transaction, so that neither a killed process nor a power cut loses what was put. Rows never
    change. They contain no API key: ``source`` is a URL that passed ``endpoint.check_url``.

    Args:
        path: of the file; created, with its folder, if it does not exist.
        read_only: the file must exist, and need not be writable.

    Raises:
        UserError: by each method, if the file cannot be used: not an answer cache, of another format, damaged, ...
    """

    def __init__(self, path: Path, read_only: bool = False):
        self.path = Path(path)
        self._lock = threading.Lock()
        with self._as_user_errors():
            self._connection = self._open(read_only)

    def get(self, source: str, name: str, prompts: Sequence[Prompt]) -> list[Answer | None]:
        """The recorded answers, with the tokens that they cost; None where there is none."""
        query = "SELECT text, logprobs, prompt_tokens, answer_tokens FROM answers WHERE key = ?"
        keys = [_key(_question(source, name, prompt)) for prompt in prompts]
        with self._lock, self._as_user_errors():
            rows = [self._connection.execute(query, (key,)).fetchone() for key in keys]
            return [row and Answer(row[0], json.loads(row[1]), *row[2:]) for row in rows]

    def put(self, source: str, name: str, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> int:
        """Records answers, all or none; existing rows stay. Returns the number of new ones."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        rows = []
        for prompt, answer in zip(prompts, answers, strict=True):
            question = _question(source, name, prompt)
            values = (_key(question), *question, *vars(answer).values(), created)
            with self._as_user_errors():
                rows.append(Row(**dict(zip(Row.model_fields, values, strict=True))))
        return self.add(rows)

    def add(self, rows: Iterable[Row]) -> int:
        """``put`` for rows."""
        insert = (
            f"INSERT INTO answers VALUES ({', '.join('?' * len(Row.model_fields))}) ON CONFLICT DO NOTHING"
        )
        with self._lock, self._as_user_errors(), self._connection as connection:
            return connection.executemany(insert, [row.columns() for row in rows]).rowcount

    def rows(self) -> Iterator[Row]:
        """All rows, sorted by key. Not thread-safe."""
        with self._as_user_errors():
            yield from map(Row.of_columns, self._connection.execute("SELECT * FROM answers ORDER BY key"))

    def groups(self) -> list[Group]:
        """Rows and tokens of each source, model and version."""
        with self._lock, self._as_user_errors():
            rows = self._connection.execute(
                "SELECT source, model, version, count(*), sum(prompt_tokens), sum(answer_tokens)"
                " FROM answers GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            )
            return [Group(*row) for row in rows]

    def faults(self) -> Iterator[str]:
        """Errors in the file's structure; if there are none, errors in its rows."""
        with self._as_user_errors():
            report = [str(line) for (line,) in self._connection.execute("PRAGMA integrity_check")]
            if report != ["ok"]:
                yield from report
                return
            for columns in self._connection.execute("SELECT * FROM answers ORDER BY key"):
                try:
                    Row.of_columns(columns)
                except (ValueError, TypeError, RecursionError) as error:
                    yield f"row {columns[0]!s:.16}: {reason(error)}"

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if read_only and not self.path.exists():
            raise UserError(f"there is no answer cache {self.path}")
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = "rwc"
        else:  # what a killed writer has left behind can be read only where it can be rolled back
            writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
            mode = "rw" if writable else "ro"
        url = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(
            url, TIMEOUT, isolation_level="IMMEDIATE", check_same_thread=False, uri=True
        )
        try:
            with connection:
                connection.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
                self._check(connection, read_only)
                if not read_only:
                    connection.execute("DELETE FROM answers WHERE 0")  # fails if the file cannot be written
            if not read_only:
                with contextlib.suppress(sqlite3.OperationalError):  # another process uses it: later, then
                    connection.execute(
                        "PRAGMA journal_mode = DELETE"
                    )  # files of 0.7.0 have a write-ahead log
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, read_only: bool) -> None:
        """Checks that the file is an answer cache; makes it one if it is empty."""
        pragmas = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        application, version, tables = (connection.execute(pragma).fetchone()[0] for pragma in pragmas)
        if not (application or version or tables or read_only):
            types = {name: "INTEGER" if name.endswith("_tokens") else "TEXT" for name in Row.model_fields}
            columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in types.items())
            connection.execute(f"CREATE TABLE answers ({columns}, PRIMARY KEY (key))")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != APPLICATION:
            raise UserError(f"{self.path} {_WHY['NOTADB']}")
        elif version != FORMAT:
            raise UserError(f"{self.path} is an answer cache of format {version}, not {FORMAT}; move it away")

    @contextlib.contextmanager
    def _as_user_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as error:
            code = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
            why = _WHY.get(code, f"cannot be used as answer cache: {error}; {_MEND}")
            raise UserError(f"{self.path} {why}") from error
        except ValidationError as error:
            raise UserError(f"{self.path} cannot hold such a row: {reason(error)}") from error
        except (ValueError, TypeError) as error:  # a row that this class has not written
            raise UserError(f"{self.path} {_WHY['CORRUPT']}") from error


def reason(error: Exception) -> str:
    """Why something is no ``Row``, in one line."""
    if not isinstance(error, ValidationError):
        return "it is no valid JSON"
    first = error.errors(include_url=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def _question(source: str, name: str, prompt: Prompt) -> tuple[Any, ...]:
    """Everything that an answer depends on, in the order of ``Row``."""
    parameters = {
        "logprobs": bool(prompt.logprobs),
        "max_tokens": int(prompt.max_tokens),
        "schema": prompt.schema,
        "temperature": float(prompt.temperature),
    }
    if prompt.continuations:
        parameters["continuations"] = list(prompt.continuations)
    return source, name, prompt.version, parameters, prompt.system, prompt.user


def _key(question: Sequence[Any]) -> str:
    # JSON separates the parts unambiguously. The parameters are JSON already when the parts are joined.
    parts = [json.dumps(part) if isinstance(part, dict) else part for part in question]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class CachedModel(Wrapped):
    """Asks a model only what is not recorded, and records its answers (not its errors).

    Recorded answers, and repeated questions of a batch, cost no tokens. If the cache fails, the model is asked as if
    there were no cache, and the first failure is reported on stderr.

    Args:
        model: to ask.
        cache: of recorded answers.
    """

    counted = ("cache_hits", "cache_misses", "cache_failures")

    def __init__(self, model: LanguageModel, cache: AnswerCache):
        super().__init__(model)
        self._cache, self._warned = cache, False

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        known: list[Answer | None] = [None] * len(prompts)
        with self._tolerating_failures():
            known = self._cache.get(self.source, self.name, prompts)
        found = {p: _free(answer) for p, answer in zip(prompts, known, strict=True) if answer}
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        self.counts.add(cache_hits=sum(prompt in found for prompt in prompts), cache_misses=len(missing))
        if missing:
            found |= zip(missing, super().answer(missing), strict=True)
            new = [prompt for prompt in missing if isinstance(found[prompt], Answer)]
            with self._tolerating_failures():
                self._cache.put(self.source, self.name, new, [found[prompt] for prompt in new])
        answers = []
        for prompt in prompts:
            answers.append(found[prompt])
            found[prompt] = _free(found[prompt])
        return answers

    def close(self) -> None:
        super().close()
        self._warned = True  # answers that arrive now are not recorded
        self._cache.close()

    @contextlib.contextmanager
    def _tolerating_failures(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            self.counts.add(cache_failures=1)
            if not self._warned:
                self._warned = True
                print_stderr(f"warning: {error}; going on without it")


class ReplayModel(LanguageModel):
    """Recorded answers only: repeats a run without its server.

    Args:
        cache: of recorded answers.
        source: URL of the model's server; None: that of the only recorded model.
        name: the model's name; None: likewise.

    Raises:
        UserError: if no recorded model fits, or several do.
    """

    can_be_asked_ahead = False
    counted = ("cache_hits", "cache_misses")

    def __init__(self, cache: AnswerCache, source: str | None = None, name: str | None = None):
        known = sorted({(group.source, group.model) for group in cache.groups()})
        fitting = [pair for pair in known if source in (None, pair[0]) and name in (None, pair[1])]
        if len(fitting) != 1:
            found = "answers of several models" if fitting else "no such answers" if known else "no answers"
            listed = ", ".join(f"{model!r} at {source!r}" for source, model in known)
            hint = f"; choose with --llm-model and --llm-base-url among {listed}" if known else ""
            raise UserError(f"{cache.path} holds {found}{hint}")
        ((self.source, self.name),) = fitting
        self.description = f"{self.name}, replayed from {cache.path}"
        self._cache = cache

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        recorded = self._cache.get(self.source, self.name, prompts)
        misses = recorded.count(None)
        self.counts.add(cache_hits=len(recorded) - misses, cache_misses=misses)
        return [_free(answer or self._never_asked(p)) for p, answer in zip(prompts, recorded, strict=True)]

    def close(self) -> None:
        self._cache.close()

    def _never_asked(self, prompt: Prompt) -> LanguageModelError:
        question = " ".join(" ".join(prompt.user.splitlines()[-2:]).split())  # before them may be examples
        if len(question) > LONGEST_QUESTION:
            question = f"{question[: LONGEST_QUESTION // 2]} ... {question[-LONGEST_QUESTION // 2 :]}"
        return LanguageModelError(
            f"{self._cache.path} holds no answer of {self.name} to: {question}", "never_asked"
        )


def _free(answer: Answer | LanguageModelError) -> Answer | LanguageModelError:
    return replace(answer, prompt_tokens=0, answer_tokens=0) if isinstance(answer, Answer) else answer
