"""Rows that may be more than memory should hold."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """(N, ...) rows that are read a stretch at a time: an array, or what lies on a disk. `np.asarray` takes all of them into memory."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...

    def __array__(self) -> np.ndarray: ...
