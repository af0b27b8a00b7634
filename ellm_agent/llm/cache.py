"""The answer cache: an SQLite file of language models' answers, so that no question is paid for twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, Prompt

FORMAT = 1  # of the file: SQLite's user_version
APPLICATION = 0x454C4C4D  # "ELLM": SQLite's application_id
TIMEOUT = 30.0  # seconds to wait for other processes
WAL_LIMIT = 4 * 2**20  # bytes in the write-ahead log before they are moved into the file

_WHY = {  # by SQLite's name of the error
    "NOTADB": "is no answer cache; name another file",
    "CORRUPT": "is damaged; move it away and begin anew, or import an export of it",
    "BUSY": "is locked by another process; try again when that has ended",
}
_MEND = "make it writable, make room on the disk, or name another file"


def default_path() -> Path:
    """The default file."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ellm_agent" / "answers.sqlite"


class Row(NamedTuple):
    """A recorded question and its answer; ``parameters`` and ``logprobs`` are JSON objects."""

    key: str
    source: str
    model: str
    version: str
    parameters: str
    system: str
    user: str
    text: str
    logprobs: str
    prompt_tokens: int
    answer_tokens: int
    created: str  # UTC, ISO 8601

    def fault(self) -> str | None:
        """The error in the row, or None."""
        for column, value in self._asdict().items():
            count = column.endswith("_tokens")
            if type(value) is not (int if count else str) or (count and not 0 <= value < 2**63):
                return f"{column} is {value!r:.50}"
        try:
            json.loads(self.parameters).keys()
            if any(type(logprob) not in (int, float) for logprob in json.loads(self.logprobs).values()):
                return "logprobs are no numbers"
        except (ValueError, AttributeError, RecursionError):
            return "parameters or logprobs are no JSON objects"
        return None if self.key == _key(self[1:7]) else f"key {self.key:.16} is not that of the question"


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

    Rows survive the process, even if it is killed: they are in the write-ahead log, which ``synchronous = NORMAL``
    leaves to the operating system. A power cut may lose the last rows, not the file. Rows never change. They contain
    no API key: ``source`` is a URL that passed ``endpoint.check_url``.

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
        keys = [_key(_question(source, name, prompt)) for prompt in prompts]
        query = "SELECT text, logprobs, prompt_tokens, answer_tokens FROM answers WHERE key = ?"
        with self._lock, self._as_user_errors(), self._connection as connection:
            connection.execute("BEGIN")
            rows = [connection.execute(query, (key,)).fetchone() for key in keys]
            return [row and Answer(_text(row[0]), json.loads(row[1]), *row[2:]) for row in rows]

    def put(self, source: str, name: str, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> int:
        """Records answers, all or none; existing rows stay. Returns the number of new ones."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        rows = []
        for prompt, answer in zip(prompts, answers, strict=True):
            question = _question(source, name, prompt)
            logprobs = json.dumps({token: float(logprob) for token, logprob in answer.logprobs.items()})
            tokens = answer.prompt_tokens, answer.answer_tokens
            rows.append(Row(_key(question), *question, answer.text, logprobs, *tokens, created))
        return self.add(rows)

    def add(self, rows: Iterable[Row]) -> int:
        """``put`` for rows, which must have no ``Row.fault``."""
        insert = f"INSERT INTO answers VALUES ({', '.join('?' * len(Row._fields))}) ON CONFLICT DO NOTHING"
        values = [tuple(map(_storable, row)) for row in rows]
        with self._lock, self._as_user_errors():
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                new = connection.executemany(insert, values).rowcount
            self._checkpoint()
        return new

    def rows(self) -> Iterator[Row]:
        """All rows, sorted by key. Not thread-safe."""
        with self._as_user_errors():
            for row in self._connection.execute("SELECT * FROM answers ORDER BY key"):
                yield Row(*map(_text, row))

    def groups(self) -> list[Group]:
        """Rows and tokens of each source, model and version."""
        with self._lock, self._as_user_errors():
            rows = self._connection.execute(
                "SELECT source, model, version, count(*), sum(prompt_tokens), sum(answer_tokens)"
                " FROM answers GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            )
            return [Group(*map(_text, row)) for row in rows]

    def faults(self) -> Iterator[str]:
        """Errors in the file's structure; if there are none, errors in its rows."""
        with self._as_user_errors():
            report = [str(line) for (line,) in self._connection.execute("PRAGMA integrity_check")]
        if report != ["ok"]:
            yield from report
            return
        for row in self.rows():
            if fault := row.fault():
                yield f"row {row.key!s:.16}: {fault}"

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
        elif os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            mode = "rw"  # tidier than "ro", which leaves a write-ahead log behind
        else:
            mode = "ro" if self._log().exists() else "ro&immutable=1"
        url = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(url, TIMEOUT, isolation_level=None, check_same_thread=False, uri=True)
        try:
            with connection:
                connection.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
                self._check(connection, read_only)
                if not read_only:
                    connection.execute("DELETE FROM answers WHERE 0")  # fails if the file cannot be written
            if not read_only:
                # Fails where another process does the same now, or the file system has no shared memory: then
                # SQLite keeps a rollback journal, which is as safe.
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint = 0")  # see _checkpoint
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, read_only: bool) -> None:
        """Checks that the file is an answer cache; makes it one if it is empty."""
        pragmas = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        application, version, tables = (connection.execute(pragma).fetchone()[0] for pragma in pragmas)
        if not (application or version or tables or read_only):
            types = {column: "INTEGER" if column.endswith("_tokens") else "TEXT" for column in Row._fields}
            columns = ", ".join(f"{column} {kind} NOT NULL" for column, kind in types.items())
            connection.execute(f"CREATE TABLE answers ({columns}, PRIMARY KEY (key))")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != APPLICATION:
            raise UserError(f"{self.path} {_WHY['NOTADB']}")
        elif version != FORMAT:
            raise UserError(f"{self.path} is an answer cache of format {version}, not {FORMAT}; move it away")

    def _checkpoint(self) -> None:
        """Empties a long write-ahead log.

        SQLite would do so by itself, but while other connections write, which can damage the file (rarely; fixed in
        3.51.3). TRUNCATE keeps them out.
        """
        with contextlib.suppress(FileNotFoundError, sqlite3.OperationalError):  # later, then
            if self._log().stat().st_size > WAL_LIMIT:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    @contextlib.contextmanager
    def _as_user_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as error:
            code = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
            why = _WHY.get(code, f"cannot be used as answer cache: {error}; {_MEND}")
            raise UserError(f"{self.path} {why}") from error
        except (ValueError, TypeError) as error:  # a row that this class has not written
            raise UserError(f"{self.path} {_WHY['CORRUPT']}") from error


def _question(source: str, name: str, prompt: Prompt) -> tuple[str, ...]:
    """Everything that an answer depends on, in the order of ``Row``."""
    parameters = {
        "logprobs": bool(prompt.logprobs),
        "max_tokens": int(prompt.max_tokens),
        "schema": prompt.schema,
        "temperature": float(prompt.temperature),
    }
    return source, name, prompt.version, json.dumps(parameters), prompt.system, prompt.user


def _key(question: Sequence[str]) -> str:
    # JSON separates the parts unambiguously and can encode any text, even one that UTF-8 cannot.
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()


def _storable(value: str | int) -> str | int | bytes:
    """Bytes for a text with lone surrogates, which SQLite cannot take as text."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _text(value: str | int | bytes) -> str | int:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
