"""The table of a benchmark: what was achieved beside its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: `achieved` and `floor` in `unit`."""

    what: str
    achieved: float
    floor: float
    unit: str


def print_rows(rows: Sequence[Row]) -> None:
    """To standard output, with achieved over floor."""
    width = max(len(row.what) for row in rows)
    print(f"{'':{width}} {'achieved':>10} {'floor':>10} {'of floor':>9}")
    for row in rows:
        share = f"{row.achieved / row.floor:9.1%}" if row.floor else f"{'':9}"
        print(f"{row.what:{width}} {row.achieved:10.1f} {row.floor:10.1f} {share} {row.unit}")
