"""``numpy.random.RandomState``, compiled: the same numbers from the same state."""

from __future__ import annotations

import numpy as np

from envs.crafter.jit import jit

# State of a generator (MT19937). The functions take any record with these fields.
GENERATOR = np.dtype([("mt", np.uint32, 624), ("mt_position", np.int32)])


@jit
def _refill(mt):
    for k in range(624):
        y = (mt[k] & np.uint32(0x80000000)) | (mt[(k + 1) % 624] & np.uint32(0x7FFFFFFF))
        value = mt[(k + 397) % 624] ^ (y >> np.uint32(1))
        if y & np.uint32(1):
            value ^= np.uint32(0x9908B0DF)
        mt[k] = value


@jit
def _next_uint32(w):
    if w.mt_position >= 624:
        _refill(w.mt)
        w.mt_position = 0
    y = w.mt[w.mt_position]
    w.mt_position += 1
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    y ^= y >> np.uint32(18)
    return y


@jit
def uniform(w) -> float:
    """``random.uniform()``"""
    high = np.int64(_next_uint32(w) >> np.uint32(5))
    low = np.int64(_next_uint32(w) >> np.uint32(6))
    return (high * 67108864.0 + low) / 9007199254740992.0


@jit
def randint(w, n) -> int:
    """``random.randint(0, n)``: masked rejection."""
    most = n - 1
    if most == 0:
        return 0
    mask = most
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    while True:
        value = np.int64(_next_uint32(w)) & mask
        if value <= most:
            return value
