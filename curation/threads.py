"""How threads wait for each other. Loads nothing, so that it can be set before OpenMP is."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """OpenMP's threads sleep while they wait, instead of spinning; a user's own `OMP_WAIT_POLICY` is left alone.

    On idle cores both are about as fast; on cores with other work, spinning makes a training step several times slower
    (`python -m benchmarks.threads`). OpenMP reads the variable once, when torch loads it: call this first. Child processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
