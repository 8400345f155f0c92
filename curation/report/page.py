"""Writes a run's report: one HTML file that needs nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from curation.report import charts, facts, gallery
from curation.report.rundata import Reasons, RunData, read_run
from curation.report.templates import page_template
from curation.wording import clean, percent
from manifests.atomic import atomic_path
from manifests.places import Place, place

REPORT_FILE = "report.html"


def write_report(run_dir: Place | str, *, preset: str | None = None) -> Place:
    """Write `report.html` into the directory of a finished or running run, whole or not at all.

    Args:
        preset: judge by these thresholds instead of the run's own.

    Raises:
        UserError: no run there, an unknown preset, or a directory that cannot be written.
    """
    run_dir = place(run_dir)
    numeric = (*charts.COLUMNS, *facts.COLUMNS, *(number[0] for number in gallery.NUMBERS), "start_ms", "video_start_ms")
    data = read_run(run_dir, preset, numeric)
    html = page_template(Path(__file__).parent, "report.html.jinja").render(_context(data))
    target = run_dir / REPORT_FILE
    with atomic_path(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return target


def _context(data: RunData) -> dict[str, Any]:
    reasons = Reasons.of(data.frame)
    counts = reasons.counts()
    drawn, series = charts.histograms(data, counts)
    steps, sources = facts.survival(data)
    accepted, rejected = _galleries(data, reasons)
    return {
        "title": clean(data.run_dir.absolute().name, 60),
        "data": data,
        "figures": facts.figures(data),
        "about": facts.about(data),
        "steps": steps,
        "sources": sources,
        "reasons": [(name, n, percent(n, len(data.frame))) for name, n in counts.items()],
        "histograms": drawn,
        "series": series,
        "scatters": charts.scatters(data),
        "accepted": accepted,
        "rejected": rejected,
        "n_accepted": int(data.frame["accepted"].sum()),
        "n_rejected": int((data.scored & ~data.frame["accepted"].to_numpy(bool)).sum()),
        "failures": facts.failures(data),
        "stages": facts.stages(data),
        "empty_columns": facts.empty_columns(data),
    }


def _galleries(data: RunData, reasons: Reasons) -> tuple[list[gallery.Tile], list[gallery.Tile]]:
    from curation.media import MediaLimits, MediaReader

    chosen = gallery.choose(data.frame, data.scored, reasons)
    deadline_s = time.monotonic() + gallery.BUDGET_S
    with MediaReader(MediaLimits(deadline_base_s=8.0, stall_s=8.0)) as reader:
        accepted, rejected = (gallery.tiles(data, positions, reader, deadline_s) for positions in chosen)
    return accepted, rejected
