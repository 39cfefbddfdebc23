"""Orders that a key decides, on any machine and under any version of numpy."""

import hashlib

import numpy as np
import numpy.typing as npt

from schemas.ids import digest

Order = npt.NDArray[np.int64]


def seeded_order(count: int, *key: str | int) -> Order:
    """The numbers 0 to `count` - 1 in an order that depends on `count` and `key` alone.

    The draws are the raw words of a Philox generator, which numpy promises never to change (it does
    not promise that of `permutation`); a stable sort settles ties.
    """
    philox_key = int(hashlib.sha256(digest(*key).encode()).hexdigest()[:32], 16)
    return np.argsort(np.random.Philox(key=philox_key).random_raw(count), kind="stable")
