"""Cells at an address that all machines reach (s3://, gs://, file://, ...; fsspec), for machines that share no folder.

A run's folder is copied there after each checkpoint, the logs first: so a checkpoint at the address always has its rows.
Knows nothing of what is run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec

from ellm_agent.errors import UserError
from ellm_agent.terminal import print_stderr

INTERVAL = 1.0  # seconds between looks for a new checkpoint
LEFT_HERE = ("lock", "output.txt")  # files that belong to a machine


_SECRET = re.compile(r"//[^/]*@|[?#]")  # a user before a host, in any part of a chained address; a query


class Store:
    """Folders at an address.

    Args:
        address: of any file system that fsspec knows; keys come from the environment, as its library says.

    Raises:
        UserError: if there is no such file system here, it cannot be reached, or the address holds a password, which the
            message does not repeat.
    """

    def __init__(self, address: str):
        if _SECRET.search(address):  # it is printed, and part of commands
            raise UserError(
                "store holds a user's name, a password or a query; put such things where its library looks, such as variables"
            )
        self.address = address
        with self._reached():
            self._fs, self._root = fsspec.core.url_to_fs(address)
            self._fs.makedirs(self._root, exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether there is something under a name."""
        with self._reached():
            self._fs.invalidate_cache()
            return self._fs.exists(f"{self._root}/{name}")

    def touch(self, name: str) -> None:
        """Makes an empty file."""
        with self._reached():
            self._fs.pipe_file(f"{self._root}/{name}", b"")

    def fetch(self, name: str, folder: Path) -> None:
        """Copies what is under a name into a folder, if there is something; what the folder holds beside it stays."""
        if not self.has(name):
            return
        with self._reached():
            place = f"{self._root}/{name}"
            for path in self._fs.find(place):
                target = folder / path[path.index(place) + len(place) + 1 :]
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(path, str(target))

    def fetch_whole(self, name: str, folder: Path, last: str) -> None:
        """Copies those folders under a name that are complete, and are not here; each appears whole or not at all.

        Args:
            name: of one such folder, or of one that holds some.
            folder: where it is here.
            last: the file that ``send`` writes last: without it a folder is not complete.
        """
        if not self.has(name):
            return
        place = f"{self._root}/{name}"
        with self._reached():
            paths = self._fs.find(place)
        for path in paths:
            inside, _, file = path[path.index(place) + len(place) :].rpartition("/")
            target = folder / inside.strip("/")
            if file != last or target.is_dir():
                continue
            partial = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.rmtree(partial, ignore_errors=True)
            self.fetch(f"{name}{inside}", partial)
            try:
                partial.rename(target)
            except OSError:  # another process was faster
                shutil.rmtree(partial)

    def send(self, folder: Path, name: str) -> None:
        """Copies a folder to a name: checkpoints last, each whole or not at all. Checkpoints that are gone here go there."""
        place = f"{self._root}/{name}"
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in LEFT_HERE]
        files = [path for path in files if path.suffix != ".partial"]
        checkpoints = [path for path in files if _is_checkpoint(path.name)]
        with self._reached():
            for path in (*(path for path in files if path not in checkpoints), *checkpoints):
                target = f"{place}/{path.relative_to(folder).as_posix()}"
                self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(path), f"{target}.partial")
                self._fs.mv(f"{target}.partial", target)
            self._fs.invalidate_cache()
            kept = {path.relative_to(folder).as_posix() for path in checkpoints}
            for path in self._fs.find(place):
                if (
                    _is_checkpoint(path.rpartition("/")[2])
                    and path[path.index(place) + len(place) + 1 :] not in kept
                ):
                    self._fs.rm(path)

    def remove(self, name: str) -> None:
        """Removes what is under a name."""
        if self.has(name):
            with self._reached():
                self._fs.rm(f"{self._root}/{name}", recursive=True)

    @contextlib.contextmanager
    def following(self, folder: Path, name: str) -> Iterator[None]:
        """Sends a folder after each new checkpoint in it, for as long as the block lasts.

        What cannot be sent is sent with the next checkpoint; one line says so.
        """
        ended = threading.Event()

        def follow() -> None:
            sent = newest(folder)
            while not ended.wait(INTERVAL):
                if newest(folder) != sent:
                    now = newest(folder)
                    try:
                        self.send(folder, name)
                    except (UserError, OSError) as error:  # OSError: a checkpoint was replaced meanwhile
                        print_stderr(f"warning: {error}; tried again")
                    else:
                        sent = now

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """
        Raises:
            UserError: for whatever the file system's library raises.
        """
        try:
            yield
        except Exception as error:  # each library has its own
            raise UserError(f"store is {self.address}, which cannot be used: {error}") from error


def newest(folder: Path) -> str:
    """Name of the newest checkpoint below a folder, or ""."""
    return max((path.name for path in folder.rglob("*.pt") if _is_checkpoint(path.name)), default="")


def _is_checkpoint(name: str) -> bool:
    """Whether a file is a run's checkpoint, named by its frames; not the copy of a pretrained agent."""
    return name.endswith(".pt") and name.removesuffix(".pt").isdecimal()


def take_over(store: Store, name: str, folder: Path) -> None:
    """Makes a folder that of the store, if a checkpoint there is newer than those here."""
    if not store.has(name):
        return
    there = folder.with_name(f".{folder.name}.fetched")
    shutil.rmtree(there, ignore_errors=True)
    store.fetch(name, there)
    if newest(there) > newest(folder):
        shutil.rmtree(folder, ignore_errors=True)
        there.rename(folder)
    shutil.rmtree(there, ignore_errors=True)
