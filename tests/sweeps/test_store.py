"""Machines that share no folder: cells go from one to the other through an address, with the files of one machine."""

import re
import shutil
from pathlib import Path

import pytest

from ellm_agent.analysis.results import Cell
from ellm_agent.config import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.sweeps import job
from ellm_agent.sweeps.plan import Options, plan
from ellm_agent.sweeps.store import Store, newest, take_over
from tests.helpers.processes import Script, script, wait_for
from tests.sweeps.test_plan import EACH, SWEEP, raw_files

OFTEN = [*EACH, "--checkpoint-every", "200"]


def test_what_is_sent_can_be_fetched(tmp_path):
    store, here, there = Store(f"file://{tmp_path}/store"), tmp_path / "here", tmp_path / "there"
    (here / "run" / "checkpoints").mkdir(parents=True)
    (here / "run" / "lock").touch()
    (here / "run" / "metrics.jsonl").write_text("a")
    (here / "run" / "checkpoints" / "0000000200.pt").write_text("200")
    store.send(here, "cell")
    (here / "run" / "checkpoints" / "0000000200.pt").unlink()
    (here / "run" / "checkpoints" / "0000000400.pt").write_text("400")
    (here / "run" / "metrics.jsonl").write_text("ab")
    store.send(here, "cell")
    take_over(store, "cell", there)
    found = {
        path.relative_to(there).as_posix(): path.read_text() for path in there.rglob("*") if path.is_file()
    }
    assert found == {"run/metrics.jsonl": "ab", "run/checkpoints/0000000400.pt": "400"}
    (there / "run" / "checkpoints" / "0000000600.pt").write_text("600")
    take_over(store, "cell", there)  # what is here is newer
    assert newest(there) == "0000000600.pt"
    store.remove("cell")
    assert not store.has("cell")


def test_results_that_were_not_sent_whole_are_not_fetched(tmp_path):
    """A machine that is killed while it sends leaves a part, which is no finished cell."""
    sent, here = tmp_path / "store" / "results", tmp_path / "here"
    store = Store(f"file://{tmp_path}/store")
    for cell, files in {"a/seed0": ["config.yaml"], "a/seed1": ["config.yaml", "summary.json"]}.items():
        for name in files:
            (sent / cell).mkdir(parents=True, exist_ok=True)
            (sent / cell / name).write_text(name)
    (sent / "a" / "seed0" / "summary.json.partial").touch()
    store.fetch_whole("results", here, "summary.json")
    assert [path.name for path in (here / "a").iterdir()] == ["seed1"]
    store.fetch_whole("results/a/seed0", here / "a" / "seed0", "summary.json")
    assert not (here / "a" / "seed0").exists()
    (sent / "a" / "seed0" / "summary.json").touch()
    store.fetch_whole("results/a/seed0", here / "a" / "seed0", "summary.json")
    assert (here / "a" / "seed0" / "config.yaml").read_text() == "config.yaml"
    store.fetch_whole("nothing", here, "summary.json")


def test_results_that_were_kept_and_not_sent_are_sent(tmp_path):
    """A machine that was killed in between is started again: nothing is played."""
    cell = Cell("crafter", "ppo", "oracle", 0)
    address = f"file://{tmp_path}/store"
    one = job.Job(cell, PRESETS["debug"], tmp_path / "work" / "cell", tmp_path / "results", False, address)
    kept = cell.folder(one.results)
    kept.mkdir(parents=True)
    for name in ("config.yaml", "summary.json"):
        (kept / name).write_text(name)
    left = tmp_path / "store" / "results" / "work" / "cell" / "output.csv"
    left.parent.mkdir(parents=True)
    left.touch()
    job.run(one)
    sent = tmp_path / "store" / "results" / "results" / cell.folder(Path())
    assert sorted(path.name for path in sent.iterdir()) == ["config.yaml", "summary.json"]
    assert not (tmp_path / "store" / "results" / "work" / "cell").exists()
    assert not (one.run_folder / "config.yaml").exists()


def test_a_cell_goes_on_on_another_machine(tmp_path):
    """The first machine is killed in the middle (long enough a run that it does not end before), and its folders are gone."""

    def machine(name, store=True):
        places = [
            "--name",
            "whole",
            "--results",
            tmp_path / name / "results",
            "--work",
            tmp_path / name / "work",
        ]
        address = ["--store", f"file://{tmp_path}/store"] if store else []
        return [*places, *SWEEP, "--methods", "oracle", "--frames", "4800", "--cell", "0", *address, *OFTEN]

    alone = script("compare.py", *machine("alone", store=False))
    assert alone.returncode == 0, alone.stderr
    first = Script("compare.py", *machine("first"))
    sent = tmp_path / "store" / "whole" / "work"
    wait_for(lambda: list(sent.rglob("*.pt")) or first.poll() is not None)
    first.kill()
    first.wait()
    assert not (tmp_path / "first" / "results").exists()
    shutil.rmtree(tmp_path / "first")
    second = script("compare.py", *machine("second"))
    assert second.returncode == 0, second.stderr
    assert raw_files(tmp_path / "second" / "results") == raw_files(tmp_path / "alone" / "results")
    assert not list(sent.rglob("*.pt"))
    third = script("compare.py", *machine("third"))  # it is finished, and this machine gets to know
    assert third.returncode == 0, third.stderr
    assert raw_files(tmp_path / "third" / "results") == raw_files(tmp_path / "alone" / "results")


@pytest.mark.parametrize("address", ["nosuch://bucket", "file:///proc/nowhere", "s3://[x"])
def test_an_address_that_cannot_be_used(address):
    with pytest.raises(UserError, match=re.escape(f"store is {address}, which cannot be used")):
        Store(address)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me:secret@nas/sweeps",
        "simplecache::ftp://me:secret@nas/x",
        "http://nas/x?token=secret",
        "s3://b/x#secret",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(address):
    with pytest.raises(UserError, match="store holds a user's name, a password or a query") as refused:
        Store(address)
    assert "secret" not in str(refused.value)


def test_a_store_is_for_several_machines():
    with pytest.raises(UserError, match="it is for --cluster and --cell"):
        plan(Options(store="file:///tmp/store"))
