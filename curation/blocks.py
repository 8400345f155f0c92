"""Going through something long a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..n in order."""
    return (slice(first, min(n, first + size)) for first in range(0, n, size))
