"""Table 1 as text, Markdown, HTML or CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from curation.table1.figures import ALL, Figures, Ours, SourceFigures
from curation.table1.paper import Paper, PaperRow, contradictions, value_of
from curation.wording import clean, percent
from manifests.tables import records

FORMATS = ("text", "markdown", "html", "csv")
_COLUMNS = (
    ("face_width_px", "face px", 0),
    ("sync_c", "Sync-C", 3),
    ("sync_d", "Sync-D", 3),
    ("head_rotation_deg", "head °", 1),
    ("lipsync_conf", "landmark sync", 3),
)
_UNKNOWN = "–"
_STYLE = (
    "body{font:15px system-ui;margin:2em}table{border-collapse:collapse}"
    "td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ccc}td:first-child{text-align:left}"
)
_NOT_AT_HAND = "in the paper, but not transcribed (configs/paper_table1.yaml)"


@dataclass(frozen=True)
class Grid:
    """A titled table of text cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render(ours: Ours, paper: Paper, form: str) -> str:
    """The whole of Table 1 as a document; `csv` gives the bare figures of every row instead."""
    if form == "csv":
        return _csv(ours, paper)
    reasons = _Reasons()
    grids = [_main(ours, paper, reasons), *_survival(ours)]
    notes = [*reasons.lines(), *ours.notes, *contradictions(paper)]
    return {"text": _text, "markdown": _markdown, "html": _html}[form](grids, notes)


class _Reasons:
    """Footnotes: a number a reason, in the order of first use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        return f"{_UNKNOWN} [{self._numbers.setdefault(reason, len(self._numbers) + 1)}]"

    def lines(self) -> list[str]:
        return [f"[{number}] {reason}" for reason, number in self._numbers.items()]


def _main(ours: Ours, paper: Paper, reasons: _Reasons) -> Grid:
    rows: list[tuple[str, ...]] = []
    covered: set[str] = set()
    for entry in paper.rows:
        for source in entry.sources:
            if (figures := ours.of(source)) is not None:
                rows += _our_rows(figures, reasons)
        covered.update(entry.sources)
        rows.append(_paper_row(entry, reasons))
    for figures in ours.sources:
        if figures.source not in covered and figures.source != ALL:
            rows += _our_rows(figures, reasons)
    rows += _our_rows(ours.sources[-1], reasons)
    for stage, hours in (("paper, in", paper.hours_in), ("paper, out", paper.hours_out)):
        rows.append((ALL, stage, "", f"{hours:,.0f}", *[""] * len(_COLUMNS)))
    header = ("source", "", "clips", "hours", *(label for _, label, _ in _COLUMNS))
    return Grid(f"Table 1: our figures before and after the filter {ours.preset.name!r}, beside {paper.name}", header, tuple(rows))


def _our_rows(figures: SourceFigures, reasons: _Reasons) -> list[tuple[str, ...]]:
    failed = f" (+{figures.failed:,} failed)" if figures.failed else ""
    before = (clean(figures.source, 40), "before", f"{figures.before.clips:,}{failed}", *_cells(figures.before, reasons))
    return [before, ("", "after", f"{figures.after.clips:,}", *_cells(figures.after, reasons))]


def _cells(figures: Figures, reasons: _Reasons) -> list[str]:
    cells = [_hours(figures.hours)]
    for name, _, decimals in _COLUMNS:
        value = getattr(figures, name)
        if math.isnan(value):
            cells.append(reasons.mark(figures.why[name]))
        elif name == "face_width_px":
            cells.append(f"{value:,.0f}×{figures.face_height_px:,.0f}")
        else:
            cells.append(f"{value:.{decimals}f}")
    return cells


def _paper_row(entry: PaperRow, reasons: _Reasons) -> tuple[str, ...]:
    hours = reasons.mark(_NOT_AT_HAND) if entry.hours is None else _hours(entry.hours)
    cells = [hours]
    for name, _, decimals in _COLUMNS:
        value = value_of(entry, name)
        if name == "lipsync_conf":
            cells.append("")
        else:
            cells.append(reasons.mark(_NOT_AT_HAND) if value is None else f"{value:,.{decimals}f}")
    return (entry.label, "paper", "", *cells)


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 100 else f"{hours:.3g}"


def _survival(ours: Ours) -> list[Grid]:
    """A table a source: how many clips pass each threshold alone, and it and all before it."""
    grids = []
    for source, steps in ours.survival.groupby("source", sort=False):
        if source != ALL and len(ours.sources) == 2:
            continue  # the only source: the same as all
        rows = [
            (
                str(step["rule"]),
                percent(step["passing"], step["clips"]),
                f"{step['surviving']:,}",
                percent(step["surviving"], step["clips"]),
                _hours(step["surviving_hours"]),
            )
            for step in records(steps)
        ]
        header = ("rule", "pass it alone", "clips left", "share left", "hours left")
        grids.append((source, Grid(f"Survival per threshold, {clean(source, 40)}: {steps['clips'].iloc[0]:,} clips", header, tuple(rows))))
    return [grid for _, grid in sorted(grids, key=lambda pair: pair[0] != ALL)]


def _text(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    blocks = []
    for grid in grids:
        table = [grid.header, *grid.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(grid.header))]
        lines = [
            "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in table
        ]
        blocks.append("\n".join([grid.title, "", lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))
    return "\n\n".join([*blocks, "\n".join(["Notes", "", *notes])])


def _markdown(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    blocks = []
    for grid in grids:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in grid.rows]
        lines = [f"| {' | '.join(row)} |" for row in (grid.header, ["---"] * len(grid.header), *rows)]
        blocks.append("\n".join([f"### {grid.title}", "", *lines]))
    return "\n\n".join([*blocks, "\n".join(f"- {note}" for note in notes)])


def _html(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    parts = [f"<!doctype html><meta charset=utf-8><title>Table 1</title><style>{_STYLE}</style>"]
    for grid in grids:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in grid.header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in grid.rows)
        parts.append(f"<h2>{escape(grid.title)}</h2><table><tr>{head}</tr>{body}</table>")
    return "".join([*parts, "<ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"])


def _csv(ours: Ours, paper: Paper) -> str:
    names = ("clips", "failed", "hours", "face_width_px", "face_height_px", "sync_c", "sync_d", "head_rotation_deg", "lipsync_conf")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["source", "stage", *names])
    for row in ours.sources:
        for stage, figures in (("before", row.before), ("after", row.after)):
            values = [row.failed if name == "failed" else getattr(figures, name) for name in names]
            writer.writerow([row.source, stage, *("" if isinstance(v, float) and math.isnan(v) else v for v in values)])
    for entry in paper.rows:
        values = [value_of(entry, name) for name in names]
        writer.writerow([entry.label, "paper", *("" if value is None else value for value in values)])
    return out.getvalue().rstrip("\n")
