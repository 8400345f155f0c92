"""How the renderer's inner loops are compiled: numba, kept on disk, so that a second process starts at once.

One thread, and no reordering that depends on more than the machine: the same input gives the same bytes.
"""

from __future__ import annotations

import functools

from manifests import UserError

try:
    from numba import njit
except ImportError as error:
    raise UserError("rendering people needs numba: pip install 'megactor-sigma-open[people]', or `make setup-people`") from error

kernel = functools.partial(njit, cache=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"})
inline = functools.partial(njit, cache=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"}, inline="always")
