"""The answer cache: counts, exports, imports and verifies recorded answers of language models."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError
from ellm_agent.llm.cache import AnswerCache, Row, default_path, reason
from ellm_agent.terminal import one_line


@dataclass(frozen=True, kw_only=True)
class File:
    cache: Path = field(default_factory=default_path)
    """The file with the answers."""

    def open(self, read_only: bool = True) -> contextlib.closing[AnswerCache]:
        return contextlib.closing(AnswerCache(self.cache, read_only))


@dataclass(frozen=True)
class Stats(File):
    """Counts answers and tokens, for each model and version of the prompts."""

    def run(self) -> None:
        with self.open() as cache:
            groups = cache.groups()
        size = self.cache.stat().st_size
        print(f"{self.cache}: {sum(group.rows for group in groups):,} answers, {size / 1e6:.1f} MB")
        for source, model, version, rows, read, written in groups:
            text = f"{model} at {source or 'no URL'}, {version}: {rows:,} answers"
            print(one_line(f"{text}, {read:,} prompt tokens, {written:,} answer tokens"))


@dataclass(frozen=True)
class Export(File):
    """Writes all answers to a JSON Lines file, sorted; the same answers make the same file."""

    file: Annotated[Path, tyro.conf.Positional]
    """The file to write."""

    def run(self) -> None:
        partial = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        rows = 0
        try:
            with self.open() as cache, open(partial, "x", encoding="ascii", newline="\n") as file:
                for row in cache.rows():
                    file.write(json.dumps(row.model_dump()) + "\n")
                    rows += 1
            partial.replace(self.file)
        finally:
            partial.unlink(missing_ok=True)
        print(f"{rows:,} answers written to {self.file}")


@dataclass(frozen=True)
class Import(File):
    """Adds the answers in an exported file: all, or none if a line of it is wrong."""

    file: Annotated[Path, tyro.conf.Positional]
    """The file to read."""

    def run(self) -> None:
        rows = []
        with open(self.file, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    rows.append(Row.model_validate(json.loads(line)))
                except (ValueError, RecursionError) as error:
                    fault = f"line {number} of {self.file} is wrong, nothing was imported: {reason(error)}"
                    raise UserError(fault) from error
        with self.open(read_only=False) as cache:
            new = cache.add(rows)
        print(f"{new:,} new of {len(rows):,} answers added to {self.cache}")


@dataclass(frozen=True)
class Verify(File):
    """Checks the file: its structure, and each answer in it."""

    def run(self) -> None:
        with self.open() as cache:
            faults = list(cache.faults())
            rows = sum(group.rows for group in cache.groups())
        if faults:
            more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
            raise UserError(f"{self.cache} is damaged: {faults[0]}{more}")
        print(f"{self.cache} is sound: {rows:,} answers")


if __name__ == "__main__":
    cli.script(lambda chosen: chosen.run(), Stats | Export | Import | Verify, __doc__)
