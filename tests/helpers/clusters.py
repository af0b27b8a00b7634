"""A Ray cluster of several nodes on this machine, whose nodes can be killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tests.helpers.processes import ROOT

NODE = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Cluster]:
    """Nodes with a core each; the first is the head. Their workers import this checkout.

    The working directory is another one, as on a machine that was not started from here.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ |= {"PYTHONPATH": f"{ROOT}:{before['PYTHONPATH'] or ''}", "RAY_USAGE_STATS_ENABLED": "0"}
    made = Cluster(initialize_head=True, connect=False, head_node_args=NODE)
    try:
        for _ in range(nodes - 1):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def kill_raylet(made: Cluster, number: int) -> None:
    """Kills a node's raylet with SIGKILL, in which it can tell nobody."""
    (raylet,) = made.list_all_nodes()[number].all_processes[ray._private.ray_constants.PROCESS_TYPE_RAYLET]
    raylet.process.kill()


def under_way(work: Path) -> list[str]:
    """Cells that have a checkpoint and have not ended."""
    return sorted({path.parts[-4] for path in work.glob("*/run/checkpoints/*.pt")})
