"""How fast `manifests.load` and a filter are on a million rows, beside the floor: Arrow reading the same file.

python -m benchmarks.manifest_load [--rows 1000000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import manifests

QUERY = "accepted and head_rotation_deg < 15 and source == 'folder'"
NARROW = ("clip_id", "source", "video_path", "accepted", "head_rotation_deg")


def synthetic_table(n_rows: int, seed: int = 0) -> pa.Table:
    """A manifest as a run leaves it: the texts that every row carries, one row in twenty failed, scores at random, SyncNet's columns filled
    and one text of JSON a row."""
    rng = np.random.default_rng(seed)
    failed = rng.random(n_rows) < 0.05
    keys = np.array([f"speaker_{i // 40:06d}/session_{i // 8 % 5}/{i:08d}.mp4" for i in range(n_rows)])
    text = {
        "clip_id": np.array([digest.hex() for digest in rng.integers(0, 2**63, n_rows).astype(">i8").view("V8").tolist()]),
        "source": np.array(["folder", "hdtf", "celebvhq", "voxceleb2"])[rng.integers(0, 4, n_rows)],
        "source_key": keys,
        "identity": np.array([f"speaker_{i // 40:06d}" for i in range(n_rows)]),
        "video_path": np.char.add("/data/videos/", keys),
        "split": np.where(rng.random(n_rows) < 0.1, "test", "train"),
        "status": np.where(failed, "failed", "scored"),
        "licence": np.full(n_rows, "CC BY 4.0; videos of their owners"),
        "file_stamp": np.array([f"{size}:{1_700_000_000_000_000_000 + i}" for i, size in enumerate(rng.integers(1e5, 1e8, n_rows))]),
        "profile": np.full(n_rows, "paper"),
        "code_version": np.full(n_rows, "0.1.0+g724329f"),
        "config_hash": np.array(["3f1c2ab4d5e6", "77aa01cd2b3f"])[rng.integers(0, 2, n_rows)],
        "landmark_model": np.full(n_rows, "dwpose-yolox_l-dw_ll_ucoco_384-7f1a2b3c"),
        "sync_model": np.full(n_rows, "landmark_sync-9d2c+syncnet_v2-961e8696-fast-1f2e3d"),
    }
    of_scored = {
        "video_codec": np.array(["h264", "vp9", "hevc"])[rng.integers(0, 3, n_rows)],
        "sync_track_scores": np.array(
            [f'[{{"first": 0, "frames": {n}, "x_px": 601.5, "sync_c": 7.1234}}]' for n in rng.integers(50, 500, n_rows)]
        ),
    }
    of_failed = {
        "error_kind": np.array(["truncated", "missing_file", "decode_error"])[rng.integers(0, 3, n_rows)],
        "error_message": np.array([f"the video ends after {i % 90}.0 s of 91.2 s" for i in range(n_rows)]),
    }
    columns = {}
    for column in manifests.COLUMNS:
        if column.name in text:
            columns[column.name] = pa.array(text[column.name], pa.string())
        elif column.name == "reject_reasons":
            reasons = pa.array([[], ["face_too_small"], ["lip_sync_low", "head_turned"]], column.type)
            columns[column.name] = reasons.take(pa.array(rng.integers(0, 3, n_rows)))
        elif pa.types.is_string(column.type):
            known = of_scored if column.name in of_scored else of_failed
            columns[column.name] = pa.array(known[column.name], pa.string(), mask=failed if known is of_scored else ~failed)
        elif pa.types.is_boolean(column.type):
            columns[column.name] = pa.array(rng.random(n_rows) < 0.5)
        elif pa.types.is_integer(column.type):
            columns[column.name] = pa.array(rng.integers(0, 2000, n_rows), column.type, mask=None if column.name == "start_ms" else failed)
        else:
            columns[column.name] = pa.array(rng.gamma(4, 6, n_rows), column.type, mask=failed)
    return pa.table(columns)


def best_of(repeats: int, call: Callable[[], object]) -> float:
    """Shortest of `repeats` durations, in ms."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


_ONCE = r"""
import os, re, sys, time
from pathlib import Path
import manifests, manifests.filters, manifests.store
before, began = os.times(), time.perf_counter()
manifests.apply(manifests.load(sys.argv[1]), "embedded")
wall, after = time.perf_counter() - began, os.times()
busy = after.user + after.system - before.user - before.system
peak_kib = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # ru_maxrss keeps the parent's over exec
print(wall * 1000, busy * 1000, peak_kib * 1.024e-3)
"""


def once(file: Path) -> tuple[float, float, float]:
    """`load` and `apply` in a process of their own, as a user's first call: (wall time in ms, processor time in ms, peak memory in MB, with
    the interpreter's 120)."""
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", _ONCE, str(file)], check=True, capture_output=True, text=True).stdout
    wall_ms, busy_ms, peak_mb = map(float, told.split())
    return wall_ms, busy_ms, peak_mb


def _arrow_filter(table: pa.Table) -> pa.Table:
    """`QUERY` by Arrow itself."""
    turned = pc.less(table["head_rotation_deg"], 15)
    return table.filter(pc.and_(table["accepted"], pc.and_(turned, pc.equal(table["source"], "folder"))))


def measure(n_rows: int = 1_000_000, repeats: int = 3) -> pd.DataFrame:
    """Rows of (what, achieved, floor, unit).

    Floors: of a new process, the goal; else Arrow reading the same file (`pyarrow.parquet.read_table`); Arrow evaluating the same filter;
    Arrow comparing each column of the preset with a constant once.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "manifest.parquet"
        manifests.write(synthetic_table(n_rows), file, {})
        label = f"{n_rows / 1e6:g} M rows"
        firsts = [once(file) for _ in range(repeats)]
        frame = manifests.load(file)
        floor_all = best_of(repeats, lambda: pq.read_table(file))
        floor_narrow = best_of(repeats, lambda: pq.read_table(file, columns=list(NARROW)))
        table = pq.read_table(file)
        floor_filter = best_of(repeats, lambda: _arrow_filter(table))
        rules = manifests.preset("embedded").rules
        floor_scan = best_of(repeats, lambda: [pc.greater(table[rule.column], 0) for rule in rules if rule.op != "is_true"])
        rows = [
            (f"manifests.load, {label}, all columns", best_of(repeats, lambda: manifests.load(file)), floor_all, "ms"),
            (f"manifests.load, {label}, {len(NARROW)} columns", best_of(repeats, lambda: manifests.load(file, NARROW)), floor_narrow, "ms"),
            (f"query, {label}", best_of(repeats, lambda: frame.query(QUERY)), floor_filter, "ms"),
            (f"manifests.apply, {label}, preset embedded", best_of(repeats, lambda: manifests.apply(frame, "embedded")), floor_scan, "ms"),
            (
                f"load + apply, {label}",
                best_of(repeats, lambda: manifests.apply(manifests.load(file), "embedded")),
                floor_all + floor_scan,
                "ms",
            ),
            (f"load + query, {label}", best_of(repeats, lambda: manifests.load(file).query(QUERY)), floor_all + floor_filter, "ms"),
            ("load + apply in a new process, wall time", min(wall for wall, _, _ in firsts), 2000, "ms"),
            ("... processor time", min(busy for _, busy, _ in firsts), 2000, "ms"),
            ("... peak memory", max(peak for _, _, peak in firsts), 1000, "MB"),
        ]
    return pd.DataFrame(rows, columns=["what", "achieved", "floor", "unit"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    print(measure(options.rows, options.repeats).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
