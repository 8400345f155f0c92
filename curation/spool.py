"""What grows with a clip and is read a stretch at a time: sound, landmarks, embeddings."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.errors import UserError

HELD_BYTES = 1 << 20  # what is shorter stays in memory: half a minute of sound, landmarks of a minute
_BLOCK_BYTES = 1 << 22


class Spool:
    """(N, ...) rows of one type (`manifests.rows.Rows`) that lie in a temporary file once they are many.

    The file has no name: whatever happens, it is gone with the process. It is read, not mapped, so the process grows by neither its own
    memory nor the file's pages. $TMPDIR says where it lies; where that is memory too (a tmpfs), the machine's memory fills instead.

    Args:
        dtype: of the values.
        row_shape: of one row; `()` for plain numbers.

    Raises:
        UserError: from reading or writing, where the temporary directory is full or cannot be written.
    """

    def __init__(self, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = ()):
        self.dtype: np.dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._row_bytes = self.dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        self._n = 0
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=HELD_BYTES)  # noqa: SIM115  closed with this object
        weakref.finalize(self, self._file.close)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n, *self._row_shape)

    @property
    def ndim(self) -> int:
        return 1 + len(self._row_shape)

    def __len__(self) -> int:
        return self._n

    def append(self, rows: np.ndarray) -> None:
        """(n, ...) more rows behind the last."""
        self.write(self._n, rows)

    def write(self, first: int, rows: np.ndarray) -> None:
        """(n, ...) rows from number `first` on, over what is there; rows that were never written are zeros."""
        rows = np.ascontiguousarray(rows, self.dtype)
        if rows.shape[1:] != self._row_shape or first < 0:
            raise ValueError(f"rows {rows.shape} at {first} do not fit into {self.shape}")
        if rows.size:
            with _named_mistakes():
                self._file.seek(first * self._row_bytes)
                self._file.write(rows.data.cast("B"))
            self._n = max(self._n, first + len(rows))

    def resize(self, n: int) -> None:
        """Cuts off what lies behind `n` rows, or adds zeros up to there."""
        if n < self._n:
            with _named_mistakes():
                self._file.truncate(n * self._row_bytes)
        self._n = n

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """A copy of a stretch of rows, in memory."""
        first, last, step = rows.indices(self._n)
        if step != 1:
            raise ValueError("rows are read one after the other")
        taken = np.zeros((max(0, last - first), *self._row_shape), self.dtype)
        if taken.size:
            with _named_mistakes():
                self._file.seek(first * self._row_bytes)
                self._file.readinto(taken.data.cast("B"))  # what lies behind the file's end stays zero
        return taken

    def __iter__(self) -> Iterator[np.ndarray]:
        """Row by row."""
        at_once = max(1, _BLOCK_BYTES // self._row_bytes)
        for first in range(0, self._n, at_once):
            yield from self[first : first + at_once]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows in memory."""
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


@contextmanager
def _named_mistakes() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"the temporary directory {tempfile.gettempdir()}: {error.strerror or error}; TMPDIR names another") from None
