"""The cut patches of a clip on disk: written once as the footage is decoded, read in any order afterwards."""

from __future__ import annotations

import os
import tempfile

import numpy as np

from manifests import UserError


class PatchStore:
    """Packed rectangles of F pictures in a temporary file that has no name: whatever happens, it is gone with the process.

    At every denoising step the windows pass over the whole clip again; decoding it each time would cost far more than reading these.

    Args:
        rectangles: (F, K, 4) int64 x0, y0, x1, y1 of each picture.
    """

    def __init__(self, rectangles: np.ndarray):
        self._rectangles = rectangles
        sides = rectangles[..., 2:] - rectangles[..., :2]
        self._sizes = 3 * sides.prod(axis=-1)  # (F, K) bytes
        self._offsets = np.concatenate([[0], self._sizes.ravel().cumsum()[:-1]]).reshape(self._sizes.shape)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`

    @property
    def n_bytes(self) -> int:
        """Size of the file once all is written."""
        return int(self._sizes.sum())

    def write(self, index: int, picture: np.ndarray) -> None:
        """Keeps the rectangles of an (H, W, 3) uint8 picture.

        Raises:
            UserError: no room for temporary files.
        """
        for (x0, y0, x1, y1), offset in zip(self._rectangles[index], self._offsets[index], strict=True):
            try:
                _write_all(self._file.fileno(), np.ascontiguousarray(picture[y0:y1, x0:x1]).tobytes(), int(offset))
            except OSError as error:
                room = f"{self.n_bytes / 1e6:.0f} MB in {tempfile.gettempdir()}"
                raise UserError(f"cannot keep the driver's patches ({room}): {error.strerror}; TMPDIR names another place") from None

    def paste(self, index: int, out: np.ndarray) -> None:
        """Puts them into an (H, W, 3) uint8 picture."""
        rows = zip(self._rectangles[index], self._offsets[index], self._sizes[index], strict=True)
        for (x0, y0, x1, y1), offset, size in rows:
            if size:
                packed = os.pread(self._file.fileno(), int(size), int(offset))
                out[y0:y1, x0:x1] = np.frombuffer(packed, np.uint8).reshape(y1 - y0, x1 - x0, 3)

    def close(self) -> None:
        self._file.close()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        n = os.pwrite(descriptor, view, offset)
        view, offset = view[n:], offset + n
