"""Sweeps on Ray: the same files as on one machine, also when a node is lost or the driver leaves; and what is refused."""

import os
import sys

import pytest

from ellm_agent.errors import UserError
from ellm_agent.sweeps import sweep
from ellm_agent.sweeps.plan import Options
from tests.helpers.processes import Script, wait_for
from tests.sweeps.test_plan import EACH, SWEEP, compare, raw_files

SEEDS = range(int(os.environ.get("CLUSTER_SEEDS", "2")))  # each is a cell of oracle, and one of novelty
PATIENCE = 300.0 * len(SEEDS)  # seconds
OFTEN = [*EACH, "--checkpoint-every", "200"]


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ellm_agent.sweeps.cluster", raising=False)
    with pytest.raises(UserError, match=r"pip install -r requirements-ray.txt; without --cluster .* no Ray"):
        sweep.run(Options(cluster="local"), ["compare.py"])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "host:99999", "256.0.0.1:6379"])
def test_an_address_where_no_cluster_answers(tmp_path, address):
    pytest.importorskip("ray")
    from ellm_agent.sweeps import cluster

    options = Options(cluster=address, work=tmp_path / "work", results=tmp_path / "results")
    with pytest.raises(UserError, match=f"cluster is {address}, where no Ray cluster of version"):
        cluster.run_sweep(options)
    assert not list(tmp_path.iterdir())


def test_a_share_of_a_gpu_is_for_clusters(tmp_path):
    done = compare(tmp_path, "gpus", "--gpus", "0.5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "gpus is 0.5; it is a share of a GPU, for --cluster only" in done.stderr


def test_what_a_node_lacks_is_said(tmp_path):
    pytest.importorskip("ray")
    from importlib.metadata import version

    from ellm_agent.sweeps.cluster import look

    mark = tmp_path / "mark"
    here = version("ellm-agent")
    assert f"does not see {tmp_path}; put --work and --results into folders" in look._function(mark, here)
    assert "does not see what others write to" in look._function("mark", here, f"file://{tmp_path}")
    mark.touch()
    assert look._function(mark, here) == look._function("mark", here, f"file://{tmp_path}") == ""
    assert f"has version {here} of ellm-agent, but this is 0.0.1" in look._function(mark, "0.0.1")


def test_a_lost_node_and_a_driver_that_leaves_change_nothing(tmp_path):
    """Killed with SIGKILL in the middle: the driver, and the raylet of one of two nodes."""
    pytest.importorskip("ray")
    from tests.helpers.clusters import cluster, kill_raylet, under_way

    def arguments(folder, *more):
        places = ["--name", "whole", "--results", folder / "results", "--work", folder / "work"]
        learners = ["--methods", "oracle", "novelty", "--seeds", *SEEDS, "--frames", "1000"]
        return [*places, *SWEEP, *learners, *more, *OFTEN]

    cells = range(2 * len(SEEDS))  # in processes of their own that have nothing to import
    alone = [Script("compare.py", *arguments(tmp_path / "alone", "--cell", cell)) for cell in cells]
    for process in alone:
        said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    folder = tmp_path / "ray"
    work = folder / "work" / "whole"
    with cluster(2) as nodes:
        there = arguments(folder, "--cluster", nodes.address)
        driver = Script("compare.py", *there)
        wait_for(lambda: len(under_way(work)) == 2 or driver.poll() is not None, seconds=PATIENCE)
        assert driver.poll() is None, driver.output()
        driver.kill()
        kill_raylet(nodes, 1)
        back = Script("compare.py", *there)
        said = back.communicate(timeout=PATIENCE)
    assert back.returncode == 0, said
    assert raw_files(folder / "results") == raw_files(tmp_path / "alone" / "results")
    assert len(list(folder.glob("results/whole/*/*/*/seed*"))) == len(cells)
    assert not list(work.glob("crafter*"))
