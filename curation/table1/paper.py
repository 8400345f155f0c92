"""The paper's Table 1 as data, and where it contradicts the paper's own thresholds."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from manifests.config_files import config_file

PAPER_FILE = config_file("paper_table1.yaml")
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_MEANS = ("sync_c", "sync_d", "head_rotation_deg")


@dataclass(frozen=True)
class PaperRow:
    """One data set of the paper. `sources`: our adapters that it covers; None for figures that are not at hand."""

    label: str
    sources: tuple[str, ...]
    hours: float | None
    face_px: float | None
    sync_c: float | None
    sync_d: float | None
    head_rotation_deg: float | None


@dataclass(frozen=True)
class Paper:
    """What the paper says of its data. `thresholds`: column -> (operator, value)."""

    name: str
    hours_in: float
    hours_out: float
    thresholds: Mapping[str, tuple[str, float]]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]


def load_paper(file: Path = PAPER_FILE) -> Paper:
    """Read the paper's figures."""
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    thresholds = {name: (rule["op"], rule["value"]) for name, rule in tree["thresholds"].items()}
    rows = tuple(PaperRow(**{**row, "sources": tuple(row["sources"])}) for row in tree["sources"].values())
    return Paper(tree["paper"], tree["hours_in"], tree["hours_out"], thresholds, rows, tuple(tree["notes"]))


def contradictions(paper: Paper) -> list[str]:
    """Means of the paper's that its own thresholds would not let through, and its further notes; a sentence each.

    If every clip passes a threshold, so does their mean: a mean beyond it says that the figures are of unfiltered data, or that the
    filter was another.
    """
    found = []
    for name in _MEANS:
        op, limit = paper.thresholds[name]
        beyond = [(row.label, value) for row in paper.rows if (value := getattr(row, name)) is not None and not _COMPARE[op](value, limit)]
        if beyond:
            listed = ", ".join(f"{label} {value:g}" for label, value in beyond)
            found.append(
                f"The paper filters by {name} {op} {limit:g}, yet its Table 1 gives means of {listed}: clips that all pass have no such "
                "mean, so these rows are of data before filtering, or the filter was another."
            )
    share = paper.hours_out / paper.hours_in
    return [*found, f"The paper keeps {paper.hours_out:g} of {paper.hours_in:,.0f} h, {share:.1%}.", *paper.notes]


def value_of(row: PaperRow, name: str) -> Any:
    """A figure by the name that `figures.Figures` gives it; None where it is not at hand."""
    return {"face_width_px": row.face_px, "face_height_px": row.face_px}.get(name, getattr(row, name, None))
