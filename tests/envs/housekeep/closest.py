"""Measures ``vocabulary.CLOSEST``: the closest pairs among all goals of protocol ``homes``. Takes ten minutes the first time.

``python -m tests.envs.housekeep.closest``
"""

from __future__ import annotations

import numpy as np
import torch

from ellm_agent.text.sentence_bert import sentence_bert
from envs.housekeep.placements import placements
from envs.housekeep.vocabulary import CLOSEST, words

BLOCK = 2048  # goals whose cosines with all others are computed at once


def main() -> None:
    torch.set_num_threads(1)
    goals = words(placements(), "homes").language.goals
    vectors = torch.from_numpy(sentence_bert(goals))  # (goals, 384)
    closest: list[tuple[float, str, str]] = []
    for start in range(0, len(goals), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors[start:].T
        cosines = torch.triu(cosines, diagonal=1)
        values, places = cosines.flatten().topk(20)
        rows, columns = np.unravel_index(places.numpy(), cosines.shape)
        pairs = zip(values.tolist(), rows + start, columns + start, strict=True)
        closest += [(value, goals[i], goals[j]) for value, i, j in pairs]
    for value, one, other in sorted(closest, reverse=True)[:20]:
        print(f"{value:.4f}  {one} | {other}")
    print(f"CLOSEST is {CLOSEST}: {'true' if max(closest)[0] < CLOSEST else 'FALSE'}")


if __name__ == "__main__":
    main()
