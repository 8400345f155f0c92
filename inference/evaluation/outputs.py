"""A table as Markdown, CSV, Parquet and LaTeX, and the paper's Tables 2 and 3 with measured rows beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from inference.evaluation.methods import published
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.table import Cell, Table, to_json
from manifests.atomic import atomic_path

_ARROWS = {"lower": "↓", "higher": "↑", "as real": "≈"}
_LATEX_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "as real": r"$\approx$"}
PAPER_COLUMNS = {"fid": "fid", "fvd": "fvd", "lpips": "lpips_alex", "sync_c": "sync_c", "sync_d": "sync_d"}


def write_outputs(table: Table, rows: Iterable[dict[str, Any]], out: Path) -> list[Path]:
    """`table.md`, `summary.csv`, `table.tex`, `table.json` and `pairs.parquet` (a row a pair), each written atomically."""
    files = {
        "table.md": markdown(table),
        "summary.csv": summary_frame(table).to_csv(index=False),
        "table.tex": latex(table),
        "table.json": to_json(table),
    }
    for name, text in files.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_path(out / "pairs.parquet") as temporary:
        pairs_frame(rows).to_parquet(temporary)
    return [out / name for name in (*files, "pairs.parquet")]


def pairs_frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """A row a method and pair, failures included, for pandas."""
    return pd.DataFrame([{name: value for name, value in row.items() if name not in ("key", "features", "did_source_px")} for row in rows])


def summary_frame(table: Table) -> pd.DataFrame:
    """Long form: method, metric, mean, low, high, rank, note, coverage, pairs, identities."""
    return pd.DataFrame(
        {
            "method": method,
            "metric": column.name,
            "better": column.better,
            "mean": cell.mean,
            "low": cell.low,
            "high": cell.high,
            "rank": cell.rank,
            "note": cell.note,
            "coverage": table.coverage[method],
            "pairs": table.n_pairs,
            "identities": table.n_identities,
        }
        for method, cells in table.cells.items()
        for column in table.columns
        for cell in [cells[column.name]]
    )


def markdown(table: Table) -> str:
    """The table with 95 % intervals, comparisons, and what stayed empty and why."""
    head = ["method", "answered", *(f"{column.name} {_ARROWS[column.better]}" for column in table.columns)]
    lines = [_row(head), _row(["---"] * len(head))]
    for method, cells in table.cells.items():
        name = f"*{method}*" if method in table.controls else method
        lines.append(_row([name, f"{table.coverage[method]:.0%}", *(_text(cells[column.name]) for column in table.columns)]))
    said = [f"{table.n_pairs} pairs of {table.n_identities} identities, those that every method answered; 95 % intervals over identities."]
    if table.n_identities < 20:
        said.append("Fewer than 20 identities: intervals are rough, and no claim about people in general rests on them.")
    parts = ["\n".join(lines), " ".join(said)]
    if table.comparisons:
        parts.append(_comparisons(table))
    if table.unavailable:
        parts.append("Not measured:\n\n" + "\n".join(f"- `{name}`: {reason}" for name, reason in table.unavailable.items()))
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """A `tabular` for booktabs; the best method of a column in bold."""
    head = ["Method", *(rf"{_escaped(column.name)} {_LATEX_ARROWS[column.better]}" for column in table.columns)]
    lines = [r"\begin{tabular}{l" + "r" * len(table.columns) + "}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    for method, cells in table.cells.items():
        shown = [
            rf"\textbf{{{_number(c.mean)}}}" if c.rank == 1 else _number(c.mean) for c in (cells[column.name] for column in table.columns)
        ]
        lines.append(" & ".join([_escaped(method), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def beside_the_paper(tables: Sequence[tuple[str, Table]]) -> str:
    """Tables 2 and 3: the paper's figures, marked as published, and below them what was measured here. Never one ranking of both.

    Args:
        tables: (name of the test set as shown, its table).
    """
    head = ["method", "10⁹ parameters", "the driver gives", "from", "test set", *(name.replace("_", "-").upper() for name in PAPER_COLUMNS)]
    lines = [_row(head), _row(["---"] * len(head))]
    for name, row in published().items():
        size = "" if row["parameters_b"] is None else f"{row['parameters_b']:g}"
        for test_set in ("hdtf", "ccv2"):
            if row[test_set]:
                figures = [f"{row[test_set][column]:g}" for column in PAPER_COLUMNS]
                lines.append(_row([name, size, row["signal"], "paper", test_set.upper().replace("CCV2", "CCv2"), *figures]))
        if not row["hdtf"] and not row["ccv2"]:
            lines.append(_row([name, size, row["signal"], "paper", "", *["not given"] * len(PAPER_COLUMNS)]))
    for test_set, table in tables:
        for method, cells in table.cells.items():
            figures = [_text(cells[column]) if column in cells else "" for column in PAPER_COLUMNS.values()]
            lines.append(_row([f"*{method}*" if method in table.controls else method, "", "", "measured", test_set, *figures]))
    return (
        "\n".join(lines)
        + "\n\nPublished and measured rows are not comparable: nobody outside knows the paper's clips, lengths, crops or extractors.\n"
    )


def _comparisons(table: Table) -> str:
    head = ["first − second", "metric", "difference [95 %]", "p", "p (Holm)"]
    lines = [_row(head), _row(["---"] * len(head))]
    for one in table.comparisons:
        bounds = f"{_number(one.difference)} [{_number(one.low)}, {_number(one.high)}]"
        lines.append(_row([f"{one.first} − {one.second}", one.metric, bounds, f"{one.p:.3g}", f"{one.p_corrected:.3g}"]))
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    if math.isnan(cell.mean):
        return ""
    bounds = "" if math.isnan(cell.low) else f" [{_number(cell.low)}, {_number(cell.high)}]"
    return f"{_number(cell.mean)}{bounds}" + (f" ({cell.rank})" if cell.rank else "")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def column_notes(columns: Sequence[MetricColumn]) -> list[tuple[str, str, str, str]]:
    """(name, which way is better, meaning with unit, source) for a legend."""
    return [(c.name, c.better, c.meaning + (f" ({c.unit})" if c.unit else ""), c.source) for c in columns]
