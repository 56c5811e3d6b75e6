"""Seeds of the tests that draw at random: the same in `make test` and CI, fresh ones in every round of `make fuzz`."""

from __future__ import annotations

import os

_FIRST = int(os.environ.get("TUNINGFORK_FUZZ_SEED", "0"))


def seeds(count: int) -> range:
    """`count` seeds for `pytest.mark.parametrize("seed", …)`; a failing test shows its seed in its name."""
    return range(_FIRST, _FIRST + count)
