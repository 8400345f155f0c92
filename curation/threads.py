"""How threads wait for each other. Loads nothing, so that it can be set before OpenMP is."""

from __future__ import annotations

import os

# Looks at a lock before a thread of GNU OpenMP's, which torch's wheels bring, goes to sleep: some tens of microseconds, longer than threads
# of one kernel wait for each other on idle cores, and far shorter than the default, which holds a busy core for milliseconds.
SPINS = "20000"


def spin_briefly() -> None:
    """OpenMP's threads spin for a moment while they wait, then sleep; a user's own `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT` is left alone.

    On idle cores that is as fast as the default; on cores with other work the default makes a training step several times slower
    (`python -m benchmarks.threads`). OpenMP reads the variable once, when torch loads it: call this first. Child processes inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
