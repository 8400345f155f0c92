"""How threads wait for each other. Loads nothing, so that it can be set before OpenMP is."""

from __future__ import annotations

import os

# Looks at a lock before a thread of GNU OpenMP's, which torch's wheels bring, goes to sleep. By trial: with 2,000 a step beside busy loops
# was slower, with none (PASSIVE) an idle step was a third slower.
SPINS = "20000"


def spin_briefly() -> None:
    """OpenMP's threads spin for a moment while they wait, then sleep; a user's own `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT` is left alone.

    On idle cores that is as fast as the default; on cores with other work the default makes a training step several times slower
    (`python -m benchmarks.threads`). OpenMP reads the variable once, when torch loads it: call this first. Child processes inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
