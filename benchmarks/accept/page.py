"""The results for people: a Markdown page, and the table that goes into docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manifests import UserError
from manifests.atomic import atomic_path

BEGIN, END = "<!-- accept-gpu: begin -->", "<!-- accept-gpu: end -->"
UNITS = {
    "samples_per_s": "samples/s",
    "step_s": "s a step",
    "data_wait": "of it waiting for data",
    "mfu": "MFU",
    "peak_memory_gib": "GiB at most",
    "tests": "tests",
    "skipped": "skipped",
    "tflops": "TFLOP/s",
    "ceiling_tflops": "TFLOP/s ceiling",
    "of_ceiling": "of the ceiling",
    "together_s": "s at the same time",
}
SHARES = ("mfu", "data_wait", "of_ceiling")


def lines_of(figures: dict[str, Any]) -> str:
    """What is worth a line of a table; the rest stays in the JSON."""
    found = []
    inner = figures.get("figures")
    flat = dict(figures)
    for name, value in inner.items() if isinstance(inner, dict) else ():  # benchmarks.training names its measurements
        flat |= value if isinstance(value, dict) else {name: value}
    for name, unit in UNITS.items():
        value = flat.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and (value or name != "skipped"):
            found.append(f"{value:.1%} {unit}" if name in SHARES else f"{value:,.4g} {unit}")
    if isinstance(inner, list):
        found += [
            " ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()) for row in inner
        ]
    found += [str(line).strip() for line in figures.get("words", []) if str(line).strip()]
    return "; ".join(found).replace("|", "/")


def page(tree: dict[str, Any]) -> str:
    machine = tree["machine"]
    head = [f"# Acceptance on {machine['name']}", "", ", ".join(f"{key} {value}" for key, value in machine.items() if key != "name"), ""]
    rows = ["| step | | s | measured |", "|---|---|---|---|"]
    for name, result in tree["steps"].items():
        rows.append(f"| {name} | {result['state']} | {result['seconds']:.0f} | {lines_of(result['figures'])} |")
    failed = [f"\n**{name}**\n\n```\n{chr(10).join(result['why'])}\n```" for name, result in tree["steps"].items() if result["why"]]
    return "\n".join([*head, *rows, *failed, ""])


def write_page(folder: Path, tree: dict[str, Any]) -> Path:
    with atomic_path(folder / "accept.md") as temporary:
        temporary.write_text(page(tree), encoding="utf-8")
    return folder / "accept.md"


def write_docs(document: Path, tree: dict[str, Any]) -> None:
    """Puts the figures between the document's markers, in place of what stood there.

    Raises:
        UserError: figures of a toy size, steps that failed, or a document without markers.
    """
    machine, steps = tree["machine"], tree["steps"]
    if machine["tiny"] or machine["device"] != "cuda":
        raise UserError("these figures are of a toy size on a CPU: only a whole run on a GPU belongs into the documentation")
    failed = [name for name, result in steps.items() if result["state"] == "FAILED"]
    if failed or not steps:
        raise UserError(f"not all of it passed ({', '.join(failed) or 'nothing ran'}): mend that first")
    text = document.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise UserError(f"{document} has no lines {BEGIN} and {END} to write between")
    with atomic_path(document) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{_table(machine, steps.items())}\n{END}{after}", encoding="utf-8")


def _table(machine: dict[str, Any], steps: Iterable[tuple[str, dict[str, Any]]]) -> str:
    rows = [f"| {name} | {lines_of(result['figures'])} |" for name, result in steps if result["state"] == "passed" and result["figures"]]
    about = (
        f"{machine['count']} × {machine['name']}, torch {machine['torch']}, driver {machine['driver']}; random weights, `make accept-gpu`."
    )
    return "\n".join([about, "", "| what | measured |", "|---|---|", *rows])
