"""A table as Markdown, CSV, Parquet and LaTeX, and the paper's Tables 2 and 3 with measured rows beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from inference.evaluation.methods import MODALITIES, published
from inference.evaluation.metrics.base import MetricColumn
from inference.evaluation.table import Cell, Table, to_json
from manifests.atomic import atomic_path

_ARROWS = {"lower": "↓", "higher": "↑", "as real": "≈"}
_LATEX_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "as real": r"$\approx$"}
ROUNDING = 1e-6
_TEST_SETS = {"hdtf": "HDTF", "ccv2": "CCv2"}
_OURS = "MegActor-Σ"
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
    """Long form: a row a method and metric."""
    return pd.DataFrame(
        {
            "method": method,
            "signal": table.signal(method),
            "metric": column.name,
            "better": column.better,
            "mean": cell.mean,
            "low": cell.low,
            "high": cell.high,
            "rank": cell.rank,
            "n": cell.n,
            "at_infinity": cell.at_infinity,
            "coverage": table.coverage[method],
            "pairs": table.n_pairs,
            "identities": table.n_identities,
        }
        for method, cells in table.cells.items()
        for column in table.columns
        for cell in [cells[column.name]]
    )


def markdown(table: Table) -> str:
    """The tables with 95 % intervals and ranks, what to know before comparing, comparisons, and what stayed empty and why."""
    parts = ["\n".join(f"**{line}**" for line in table.warnings)] if table.warnings else []
    for columns in column_groups(table.columns):
        head = ["method", "driven by", "answered", *(f"{column.name} {_ARROWS[column.better]}" for column in columns)]
        lines = [_row(head), _row(["---"] * len(head))]
        for method, cells in table.cells.items():
            name = f"*{method}*" if method in table.controls else method
            figures = [shown(cells[column.name], table.n_pairs if column.name not in table.distances else None) for column in columns]
            lines.append(_row([name, table.signal(method), f"{table.coverage[method]:.0%}", *figures]))
        parts.append("\n".join(lines))
    parts.append(
        f"Every method answered {table.n_pairs} pairs of {table.n_identities} identities. In the cells: mean [95 % interval over"
        " identities] (rank among the methods); rows in italics are controls."
    )
    if table.distances:
        parts.append(_small_samples(table))
    if table.curves:
        parts.append(_curves(table))
    if table.comparisons:
        parts.append(_comparisons(table))
    if table.unavailable:
        parts.append("Not measured:\n\n" + "\n".join(f"- `{name}`: {reason}" for name, reason in table.unavailable.items()))
    return "\n\n".join(parts) + "\n"


def column_groups(columns: Sequence[MetricColumn]) -> list[list[MetricColumn]]:
    """The columns of the paper's tables first, then the rest by six, so that no table is too wide to read."""
    of_paper = [column for column in columns if column.name in PAPER_COLUMNS.values()]
    rest = [column for column in columns if column not in of_paper]
    return [group for group in (of_paper, *(rest[i : i + 6] for i in range(0, len(rest), 6))) if group]


def latex(table: Table) -> str:
    """A `tabular` for booktabs; the best method of a column in bold."""
    head = ["Method", *(rf"{_escaped(column.name)} {_LATEX_ARROWS[column.better]}" for column in table.columns)]
    lines = [r"\begin{tabular}{l" + "r" * len(table.columns) + "}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    for method, cells in table.cells.items():
        shown = [
            rf"\textbf{{{number(c.mean)}}}" if c.rank == 1 else number(c.mean) for c in (cells[column.name] for column in table.columns)
        ]
        lines.append(" & ".join([_escaped(method), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def beside_the_paper(tables: Sequence[tuple[str, Table]]) -> str:
    """Tables 2 and 3: the paper's figures, marked as published, and below them what was measured here. Never one ranking of both.

    Args:
        tables: (name of the test set, its table); one called hdtf or ccv2 stands below the paper's figures of that set.
    """
    parts = []
    named = {name.lower(): label for name, label in _TEST_SETS.items()}
    sections = [*_TEST_SETS.values(), *dict.fromkeys(name for name, _ in tables if name.lower() not in named)]
    for section in sections:
        rows = [line for name, line in _published_rows(section)]
        for test_set, table in tables:
            if named.get(test_set.lower(), test_set) == section:
                rows += [_measured_row(table, method) for method in table.cells]
        parts.append(f"Table 2, {section}\n\n" + _block(rows))
    by_modality: dict[str, list[list[str]]] = {modality: [] for modality in MODALITIES}
    for modality, rows in by_modality.items():
        rows += [line for name, line in _published_rows("HDTF") if name == f"{_OURS} {modality}"]
        for test_set, table in tables:
            for method in table.methods.values():
                if method.modality == modality:
                    line = _measured_row(table, method.name)
                    rows.append([f"{line[0]}, {test_set}", *line[1:]])
    parts.append("Table 3, by what drives (published: HDTF)\n\n" + _block([row for rows in by_modality.values() for row in rows]))
    parts += [f"**{name}: {line}**" for name, table in tables for line in table.warnings]
    parts.append("Published and measured rows are not comparable: nobody outside knows the paper's clips, lengths, crops or extractors.")
    return "\n\n".join(parts) + "\n"


def _block(rows: Sequence[Sequence[str]]) -> str:
    head = ["method", "10⁹ parameters", "driven by", "from", *(name.replace("_", "-").upper() for name in PAPER_COLUMNS)]
    return "\n".join([_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)])


def _published_rows(section: str) -> list[tuple[str, list[str]]]:
    key = next((key for key, label in _TEST_SETS.items() if label == section), None)
    if key is None:
        return []
    found = []
    for name, row in published().items():
        size = "" if row["parameters_b"] is None else f"{row['parameters_b']:g}"
        figures = [f"{row[key][column]:g}" for column in PAPER_COLUMNS] if row[key] else ["not given"] * len(PAPER_COLUMNS)
        found.append((name, [name, size, row["signal"], "paper", *figures]))
    return found


def _measured_row(table: Table, method: str) -> list[str]:
    size = table.methods[method].parameters_b if method in table.methods else math.nan
    cells = table.cells[method]
    figures = [shown(cells[column]) if column in cells else "" for column in PAPER_COLUMNS.values()]
    name = f"*{method}*" if method in table.controls else method
    return [name, "" if math.isnan(size) else f"{size:.4g}", table.signal(method), "measured", *figures]


def _small_samples(table: Table) -> str:
    """How much of each Fréchet distance may be only its small number of samples."""
    head = ["Fréchet distance", "method", "samples a side", "measured", "extrapolated to infinitely many"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name in table.distances:
        for method, cells in table.cells.items():
            cell = cells[name]
            if not math.isnan(cell.mean):
                limit = "fewer than 4 identities" if math.isnan(cell.at_infinity) else number(cell.at_infinity)
                lines.append(_row([name, method, str(cell.n), number(cell.mean), limit]))
    return "\n".join(lines)


def _curves(table: Table) -> str:
    head = ["method", "knob", "measured", "clips", "at each setting [95 %]"]
    lines = [_row(head), _row(["---"] * len(head))]
    for curve in table.curves:
        points = "; ".join(f"{p.value:g}: {bounded(p.mean, p.low, p.high)}" for p in curve.points)
        lines.append(_row([curve.method, curve.parameter, curve.column, str(curve.n_clips), points]))
    return "\n".join(lines)


def _comparisons(table: Table) -> str:
    head = ["first − second", "metric", "difference [95 %]", "p", "p (Holm)", "identities needed"]
    lines = [_row(head), _row(["---"] * len(head))]
    for one in table.comparisons:
        p, corrected = ("" if math.isnan(value) else f"{value:.3g}" for value in (one.p, one.p_corrected))
        bounds = bounded(one.difference, one.low, one.high)
        lines.append(_row([f"{one.first} − {one.second}", one.metric, bounds, p, corrected, str(one.needed or "")]))
    return "\n".join(lines)


def shown(cell: Cell, n_pairs: int | None = None) -> str:
    """Mean, interval, rank, and the number of clips where it is smaller than `n_pairs`."""
    if math.isnan(cell.mean):
        return ""
    fewer = f", {cell.n} clips" if n_pairs is not None and cell.n < n_pairs else ""
    return bounded(cell.mean, cell.low, cell.high) + (f" ({cell.rank})" if cell.rank else "") + fewer


def bounded(mean: float, low: float, high: float) -> str:
    """A mean with its interval in brackets, where it has one."""
    return number(mean) + ("" if math.isnan(low) else f" [{number(low)}, {number(high)}]")


def number(value: float) -> str:
    """Four figures; "" for NaN, 0 for what is only rounding."""
    return "" if math.isnan(value) else "0" if abs(value) < ROUNDING else f"{value:.4g}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def column_notes(columns: Sequence[MetricColumn]) -> list[tuple[str, str, str, str]]:
    """(name, which way is better, meaning with unit, source) for a legend."""
    return [(c.name, c.better, c.meaning + (f" ({c.unit})" if c.unit else ""), c.source) for c in columns]
