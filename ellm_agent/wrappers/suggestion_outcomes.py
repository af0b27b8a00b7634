"""What became of suggestions: rows of ``suggestions.jsonl`` (``docs/suggester_training.md`` documents the format).

Every so many frames of an episode a row is opened: the caption, the goals suggested, and what happened before. It is
complete after ``usefulness.WINDOW`` frames, or when the episode ends. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ellm_agent.goals.usefulness import WINDOW, achieved_goals, usefulness

EVERY = 16  # frames between the suggestions of an episode that are logged


class SuggestionOutcomes:
    """Follows what happens after suggestions.

    Args:
        n_envs: parallel worlds.
        satisfies: (event, goal) -> whether the event fulfils the goal.
        constants: fields that all rows have.
    """

    def __init__(self, n_envs: int, satisfies: Callable[[str, str], bool], constants: Mapping[str, Any]):
        self._satisfies, self._constants = satisfies, dict(constants)
        self._open: list[list[dict[str, Any]]] = [[] for _ in range(n_envs)]  # rows, by world, oldest first
        self._happened: list[list[str]] = [[] for _ in range(n_envs)]  # events of the episode

    def open(self, i: int, **fields: Any) -> None:
        """Opens a row for the present state of world ``i``.

        Args:
            fields: ``world_seed``, ``frame``, ``caption``, ``goals`` and ``tokens``.
        """
        self._open[i].append({**fields, "before": list(self._happened[i]), "after": {}})

    def step(self, i: int, frame: int, events: Sequence[str], ended: bool) -> list[dict[str, Any]]:
        """Notes what happened in a transition of world ``i``, and gives the rows that are complete.

        Args:
            frame: of the episode, after the transition.
            events: that really happened.
            ended: whether the episode ended.
        """
        for event in events:
            for row in self._open[i]:
                if event not in row["before"]:
                    row["after"].setdefault(event, frame - row["frame"])
            if event not in self._happened[i]:
                self._happened[i].append(event)
        rows = self._open[i]
        closed = rows if ended else [row for row in rows if frame - row["frame"] >= WINDOW]
        self._open[i] = [] if ended else rows[len(closed) :]
        if ended:
            self._happened[i] = []
        return [self._complete(row, frame, ended) for row in closed]

    def _complete(self, row: dict[str, Any], frame: int, ended: bool) -> dict[str, Any]:
        outcome = row["before"], row["after"], self._satisfies
        return {
            **self._constants,
            **row,
            "frames_followed": frame - row["frame"],
            "ended": ended,
            "achieved": achieved_goals(row["goals"], *outcome),
            "usefulness": round(usefulness(row["goals"], *outcome), 4),
        }

    def reset(self) -> None:
        """Forgets the rows that are open: all worlds start over."""
        for rows in (*self._open, *self._happened):
            rows.clear()

    def state_dict(self) -> dict[str, Any]:
        """The rows that are open, and what happened in the episodes under way."""
        return {"open": [list(rows) for rows in self._open], "happened": [list(e) for e in self._happened]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._open = [
            [{**row, "goals": list(row["goals"]), "after": dict(row["after"])} for row in rows]
            for rows in state["open"]
        ]
        self._happened = [list(events) for events in state["happened"]]
