"""The report of an evaluation: one HTML page with tables, a plot a metric, and players of the best and the worst pairs.

The page holds everything but the videos, which it plays from where they lie.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curation.report.templates import page_template
from inference.evaluation.charts import curve_chart, interval_chart
from inference.evaluation.outputs import bounded, column_groups, column_notes, number, shown
from inference.evaluation.sweep import Curve
from inference.evaluation.table import Table
from manifests.atomic import atomic_path

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Player:
    """One pair side by side: what a method answered, and the clip that drove it."""

    caption: str
    answer: str
    target: str


def write_report(out: str | Path, table: Table, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes `report.html` beside the rows, whole or not at all."""
    out = Path(out)
    context = {
        "title": out.absolute().name,
        "table": table,
        "columns": table.columns,
        "groups": column_groups(table.columns),
        "shown": lambda method, column: shown(table.cells[method][column.name], None if column.name in table.distances else table.n_pairs),
        "plots": [(column, interval_chart(column, table)) for column in table.columns],
        "legend": column_notes(table.columns),
        "players": _players(table, rows, out),
        "failures": [row for row in rows if row["status"] == "failed"],
        "sweeps": _sweeps(table),
        "number": number,
        "bounded": bounded,
        "p_value": lambda value: "" if math.isnan(value) else f"{value:.3g}",
    }
    html = page_template(Path(__file__).parent, "evaluation.html.jinja").render(context)
    with atomic_path(out / REPORT_FILE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out / REPORT_FILE


def _sweeps(table: Table) -> list[tuple[str, str, list[str], str]]:
    """(knob, column, methods in the order of their colours, drawing) of an amplitude sweep, all methods in one drawing."""
    drawings: dict[tuple[str, str], list[Curve]] = {}
    for curve in table.curves:
        drawings.setdefault((curve.parameter, curve.column), []).append(curve)
    return [(parameter, column, [c.method for c in curves], curve_chart(curves)) for (parameter, column), curves in drawings.items()]


def _players(table: Table, rows: Sequence[dict[str, Any]], out: Path) -> list[tuple[str, list[Player]]]:
    """For every metric of single pairs the best and the worst answer of any method."""
    found = []
    answered = [row for row in rows if row["status"] == "scored" and row.get("answer")]
    for column in table.columns:
        if column.better == "as real":
            continue
        measured = sorted((row for row in answered if row.get(column.name) is not None), key=itemgetter(column.name))
        if len(measured) < 2:
            continue
        best, worst = (measured[0], measured[-1]) if column.better == "lower" else (measured[-1], measured[0])
        players = [
            Player(
                f"{word}: {row['method']}, {row['pair_id']}, {column.name} {row[column.name]:.4g}",
                _link(row["answer"], out),
                _link(row["target"], out),
            )
            for word, row in (("best", best), ("worst", worst))
        ]
        found.append((column.name, players))
    return found


def _link(path: str, out: Path) -> str:
    return quote(Path(os.path.relpath(path, out)).as_posix())
