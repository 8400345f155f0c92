"""Rows that lie in pieces within others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.rows import Rows


class Pieces:
    """Pieces of other rows as rows of their own (`manifests.rows.Rows`), one piece after the other; nothing is copied before it is read.

    Args:
        rows: the others.
        pieces: (first, n) of each piece.
    """

    def __init__(self, rows: Rows, pieces: Sequence[tuple[int, int]]):
        self._rows = rows
        self._firsts = np.array([first for first, _ in pieces], np.int64)
        self._ends = np.cumsum([0, *(n for _, n in pieces)])  # of the pieces, counted by these rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._rows.shape[1:])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, rows: slice, /) -> Any:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("rows are read one after the other")
        taken = [self._rows[:0]]
        for number in range(*np.searchsorted(self._ends, (first, max(first, last)), side="right") - (1, 0)):
            if number < len(self._firsts):
                begin, end = max(first, self._ends[number]), min(last, self._ends[number + 1])
                at = int(self._firsts[number] - self._ends[number])
                taken.append(self._rows[at + begin : at + max(begin, end)])
        return np.concatenate(taken)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows in memory."""
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)
