"""The page of the demonstration: what was done and how long it took, the animations beside what drove them, the scores, the reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import manifests
from curation.report.templates import page_template
from curation.wording import duration, number
from inference.evaluation.outputs import column_groups, shown
from inference.evaluation.pairs import read_pairs
from inference.evaluation.table import make_table
from manifests.atomic import atomic_path
from training.demo import MODALITIES, STAGES
from training.loop.run_folder import Log

PAGE_FILE = "index.html"
RESAMPLES = 2_000


def write_page(out: Path, stamps: list[dict[str, Any]], quick: bool) -> Path:
    """Writes `index.html`, whole or not at all; it needs the files beside it.

    Args:
        stamps: of the steps: title, command, seconds.
    """
    df = manifests.load(out / "curation")
    table = make_table(out / "evaluation", resamples=RESAMPLES)
    context = {
        "quick": quick,
        "n_clips": len(df),
        "n_accepted": int(df["accepted"].sum()),
        "n_held_out": int((df["accepted"] & (df["split"] == "test")).sum()),
        "steps": [(stamp["title"], stamp["command"], duration(round(stamp["seconds"]))) for stamp in stamps],
        "total": duration(round(sum(stamp["seconds"] for stamp in stamps))),
        "stages": [_stage(out, stage) for stage in STAGES],
        "animations": _animations(out),
        "modalities": MODALITIES,
        "table": table,
        "groups": column_groups(table.columns),
        "shown": lambda method, column: shown(table.cells[method][column.name], None if column.name in table.distances else table.n_pairs),
    }
    with atomic_path(out / PAGE_FILE) as temporary:
        temporary.write_text(page_template(Path(__file__).parent, "demo.html.jinja").render(context), encoding="utf-8")
    return out / PAGE_FILE


def _stage(out: Path, stage: int) -> dict[str, Any]:
    records = Log(out / "runs" / f"s{stage}").read()
    losses = [record["loss"] for record in records if record.get("kind") == "validation"]
    return {
        "name": f"stage {stage}",
        "report": f"runs/s{stage}/report.html",
        "steps": max((record["step"] for record in records), default=0),
        "first": number(losses[0], 3) if losses else "",
        "last": number(losses[-1], 3) if losses else "",
    }


def _animations(out: Path) -> list[dict[str, Any]]:
    """For every pair the portrait, the clip that drove it, and our videos; "" where one is missing."""
    pairs = read_pairs(out / "bench")

    def link(path: Path) -> str:
        return quote(Path(os.path.relpath(path, out)).as_posix()) if path.is_file() else ""

    return [
        {
            "name": pair.pair_id,
            "reference": link(pairs.path(pair.reference)),
            "real": link(pairs.path(pair.real)),
            "ours": {modality: link(out / "results" / f"ours-{modality}" / f"{pair.pair_id}.mp4") for modality in MODALITIES},
        }
        for pair in pairs
    ]
