"""Runs for the tests of the report: rows with planted numbers, and a reader of the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import manifests

CONFIG = {"source": "folder", "root": "/data/clips", "config": {"profile": "embedded", "preset": "embedded", "scorers": {"face": {}}}}
VOID = {"meta", "link", "img", "input", "wbr", "br"}


def row(number: int, **values: Any) -> dict[str, Any]:
    """A scored row that the embedded preset accepts, with `values` in place of its own."""
    key = values.get("source_key", f"clip_{number:05d}.mp4")
    source = values.get("source", "folder")
    good = {
        "clip_id": manifests.clip_id(source, key, 0, None),
        "source": source,
        "source_key": key,
        "identity": f"person {number // 3}",
        "video_path": f"/nowhere/{number}.mp4",
        "start_ms": 0,
        "split": "train",
        "status": "scored",
        "has_audio": True,
        "duration_ms": 4000.0,
        "valid_frame_ratio": 1.0,
        "n_faces_max": 1,
        "n_cuts": 0,
        "face_size_px_p5": 240.0,
        "face_width_px": 250.0,
        "face_height_px": 260.0,
        "head_rotation_deg": 8.0,
        "speech_ratio": 0.8,
        "lipsync_conf": 0.3,
        "lipsync_offset_frames": 0,
        "profile": "embedded",
        "code_version": "0.1.0",
        "config_hash": "0123456789ab",
        "landmark_model": "facemesh",
        "decode_ms": 300.0,
        "landmarks_ms": 600.0,
        "sync_ms": 100.0,
    }
    return good | values


def failed(number: int, kind: str, message: str, **values: Any) -> dict[str, Any]:
    """A failed row: no measurement."""
    kept = ("clip_id", "source", "source_key", "identity", "video_path", "start_ms", "split", "profile")
    base = row(number, **values)
    return {name: base[name] for name in kept} | {"status": "failed", "error_kind": kind, "error_message": message}


def random_frame(n_rows: int, seed: int = 0, n_sources: int = 3) -> pd.DataFrame:
    """Many scored rows with numbers on both sides of every threshold; 3 % failed; some lip-sync scores null."""
    rng = np.random.default_rng(seed)
    number = np.arange(n_rows)
    bad, silent = rng.random(n_rows) < 0.03, rng.random(n_rows) < 0.1
    frame = pd.DataFrame(
        {
            "clip_id": [f"{i:020x}" for i in number],
            "source": [f"source{k}" for k in rng.integers(0, n_sources, n_rows)],
            "source_key": [f"id{i // 7:05d}/clip{i}.mp4" for i in number],
            "identity": [f"id{i // 7}" for i in number],
            "video_path": [f"/nowhere/{i}.mp4" for i in number],
            "start_ms": 0,
            "split": "train",
            "status": np.where(bad, "failed", "scored"),
            "error_kind": np.where(bad, "truncated", None),
            "error_message": np.where(bad, "the file ends early", None),
            "profile": "embedded",
        }
    )
    measured = {
        "has_audio": pd.array(~silent, "boolean"),
        "duration_ms": rng.gamma(4, 1500, n_rows),
        "valid_frame_ratio": 1 - rng.beta(1, 20, n_rows),
        "n_faces_max": pd.array(1 + (rng.random(n_rows) < 0.1), "Int32"),
        "n_cuts": pd.array((rng.random(n_rows) < 0.05).astype(int), "Int32"),
        "face_size_px_p5": rng.lognormal(5.6, 0.6, n_rows),
        "face_width_px": rng.lognormal(6.6, 0.6, n_rows),
        "face_height_px": rng.lognormal(6.7, 0.6, n_rows),
        "head_rotation_deg": np.abs(rng.normal(12, 12, n_rows)),
        "speech_ratio": rng.beta(5, 2, n_rows),
        "lipsync_conf": rng.normal(0.2, 0.12, n_rows),
        "lipsync_offset_frames": pd.array(np.clip(rng.normal(0, 3, n_rows).round(), -15, 15).astype(int), "Int32"),
        "decode_ms": np.full(n_rows, 400.0),
        "landmarks_ms": np.full(n_rows, 500.0),
        "sync_ms": np.full(n_rows, 100.0),
    }
    for name, values in measured.items():
        unheard = silent if name.startswith(("lipsync", "speech")) else np.zeros(n_rows, bool)
        frame[name] = pd.Series(values).mask(bad | unheard)
    return frame


def write_run(folder: Path, rows: Any, config: dict[str, Any] = CONFIG) -> Path:
    """A run's directory with `rows` as its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    manifests.write(rows, folder / "manifest.parquet", config)
    return folder


class Page(HTMLParser):
    """A parsed report: `tags` (name, attributes), `texts`, and the text within each section; fails on tags that do not nest."""

    def __init__(self, file: Path):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.sections: dict[str, list[str]] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1][0] == tag, f"</{tag}> closes <{self._open[-1][0]}>"
        self._open.pop()

    def handle_data(self, data):
        if any(tag == "style" for tag, _ in self._open):
            return
        self.texts.append(data)
        for tag, attrs in self._open:
            if tag == "section":
                self.sections.setdefault(attrs["id"], []).append(data)

    def text(self, section: str | None = None) -> str:
        """All text (of a section), runs of white space as one space."""
        return " ".join(" ".join(self.texts if section is None else self.sections[section]).split())

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        """Attributes of the tags that have the class."""
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]
