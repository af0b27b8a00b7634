"""Downstream tasks: tidy up, rewarded by the environment. As in the paper there is one for each fixed home."""

from __future__ import annotations

from collections.abc import Mapping

from envs.interface import TaskDescription

FIXED_HOMES = ("kitchen", "living room", "bedroom", "child's room")  # of protocol ``ellm``, in this order
ANYWHERE = "tidy up"


def _task(name: str, where: str) -> TaskDescription:
    goal = f"Put every object {where} where it belongs."
    reward = "Reward: 1 when a misplaced object is first picked up, 1 when it is first put right, -0.1 for a wrong pick or placement."
    return TaskDescription(name, f"{goal} {reward}", (name,))


TASKS: Mapping[str, TaskDescription] = {
    ANYWHERE: _task(ANYWHERE, "of any home"),
    **{f"tidy {room}": _task(f"tidy {room}", f"of the fixed {room}") for room in FIXED_HOMES},
}


def home_of_task(task: str | None, protocol: str) -> int | None:
    """The number of the fixed home in which a task is done; None: any home.

    Raises:
        ValueError: one line, if the protocol does not have that home.
    """
    if task is None or task == ANYWHERE:
        return None
    if protocol != "ellm":
        raise ValueError(
            f"task is {task!r}, which is done in a home of protocol ellm; protocol is {protocol}"
        )
    return FIXED_HOMES.index(task.removeprefix("tidy "))
