"""Seeds and devices of a run."""

from __future__ import annotations

import numpy as np
import torch

from ellm_agent.errors import UserError


def generator_seed(seed: int) -> int:
    """A generator seed far from that of any other run.

    SB3 gives environment i the algorithm's seed plus i, so runs with seeds 0 and 1 would play nearly the same worlds.
    """
    return int(np.random.SeedSequence([seed, 0]).generate_state(1)[0] % 2**31)


def find_device(name: str) -> torch.device:
    """The device of ``--device``; "auto": a GPU if there is one.

    Raises:
        UserError: if it is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, found in available.items() if found)
    if not available[name]:
        found = ", ".join(device for device, there in available.items() if there)
        raise UserError(f"device is {name}, which is not available here; choose one of {found}")
    return torch.device(name)
