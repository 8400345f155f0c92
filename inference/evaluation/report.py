"""The report of an evaluation: one HTML page with tables, a plot a metric, and players of the best and the worst pairs.

The page holds everything but the videos, which it plays from where they lie.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curation.report.svg import LEFT, RIGHT, WIDTH, Scale, ticks
from curation.report.wording import number
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.outputs import column_notes
from inference.evaluation.table import Cell, Table
from manifests.atomic import atomic_path

REPORT_FILE = "report.html"
_LINE_PX = 22
_NAMES_PX = 120


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
        "cells": {method: [_shown(cells[column.name]) for column in table.columns] for method, cells in table.cells.items()},
        "plots": [(column, interval_chart(column, table)) for column in table.columns],
        "legend": column_notes(table.columns),
        "players": _players(table, rows, out),
        "failures": [row for row in rows if row["status"] == "failed"],
        "number": lambda value: "" if math.isnan(value) else f"{value:.4g}",
    }
    html = _template().render(context)
    with atomic_path(out / REPORT_FILE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out / REPORT_FILE


def interval_chart(column: MetricColumn, table: Table) -> str:
    """A dot and its interval for every method and control; empty where nothing was measured."""
    cells = [(method, row[column.name]) for method, row in table.cells.items() if not math.isnan(row[column.name].mean)]
    if not cells:
        return ""
    bounds = [value for _, cell in cells for value in (cell.mean, cell.low, cell.high) if not math.isnan(value)]
    room = 0.06 * (max(bounds) - min(bounds)) or 0.1 * abs(bounds[0]) or 1.0
    x = Scale(min(bounds) - room, max(bounds) + room, LEFT + _NAMES_PX, WIDTH - RIGHT)
    height = _LINE_PX * len(cells) + 30
    parts = [f'<path class="grid" d="M{x(t):.1f} 4V{height - 22}"/>' for t in ticks(x.low, x.high)]
    parts += [f'<text class="axis" x="{x(t):.1f}" y="{height - 8}" text-anchor="middle">{number(t)}</text>' for t in ticks(x.low, x.high)]
    for index, (method, cell) in enumerate(cells):
        y = 14 + _LINE_PX * index
        colour = "s6" if method in table.controls else "s0"
        parts.append(f'<text class="axis" x="{LEFT + _NAMES_PX - 8}" y="{y + 4}" text-anchor="end">{escape(method[:22])}</text>')
        if not math.isnan(cell.low):
            parts.append(f'<path class="line {colour}" d="M{x(cell.low):.1f} {y}H{x(cell.high):.1f}"/>')
        parts.append(
            f'<circle class="{colour}" cx="{x(cell.mean):.1f}" cy="{y}" r="4"><title>{escape(method)}: {_shown(cell)}</title></circle>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(column.name)}">{"".join(parts)}</svg>'


def _shown(cell: Cell) -> str:
    if math.isnan(cell.mean):
        return ""
    return f"{cell.mean:.4g}" + ("" if math.isnan(cell.low) else f" [{cell.low:.4g}, {cell.high:.4g}]")


def _players(table: Table, rows: Sequence[dict[str, Any]], out: Path) -> list[tuple[str, list[Player]]]:
    """For every metric of single pairs the best and the worst answer of any method."""
    found = []
    answered = [row for row in rows if row["status"] == "scored" and row.get("answer")]
    for column in table.columns:
        if column.better == "as real":
            continue
        measured = sorted((row for row in answered if row.get(column.name) is not None), key=lambda row, n=column.name: row[n])
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


def _template() -> Any:
    import jinja2
    from markupsafe import Markup

    here, curation = Path(__file__).parent, Path(__file__).parents[2] / "curation" / "report"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([here, curation]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup  # SVG made in this module, whose texts are escaped there
    return environment.get_template("evaluation.html.jinja")
