"""One shard: keep what is there and still right, encode the rest, commit. Clips that were finished before a kill are kept too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import manifests
from curation.contracts import ScoredClip
from curation.job.ledger import Ledger, clips_digest
from curation.job.tally import Tally
from curation.materialise.clip import COLUMNS, ClipCutter, Cut, cut_key, finished, new_names
from curation.materialise.settings import MaterialiseSettings
from manifests import Column, LandmarkIndex
from manifests.tables import to_table

CLIPS_DIR = "clips"


@dataclass(frozen=True)
class ShardTask:
    """Rows of the parent manifest that belong to a shard, in order; `force`: parent clips to cut again whatever is there."""

    shard: int
    rows: tuple[dict[str, Any], ...]
    force: frozenset[str] = frozenset()

    def to_json(self) -> str:
        return json.dumps({"shard": self.shard, "rows": self.rows, "force": sorted(self.force)})

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        tree = json.loads(text)
        return cls(tree["shard"], tuple(tree["rows"]), frozenset(tree["force"]))


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker, perhaps on another machine, needs to start."""

    out_dir: str
    settings: MaterialiseSettings
    settings_digest: str
    landmarks: LandmarkIndex
    code_version: str
    run_config: dict[str, Any]
    columns: tuple[Column, ...]  # further columns of the parent


class ShardWorker:
    """Owns a `ClipCutter`; runs shard after shard. A context manager."""

    def __init__(self, spec: WorkerSpec):
        self._spec = spec
        self._ledger = Ledger(spec.out_dir)
        self._cutter = ClipCutter(spec.settings, spec.settings_digest)

    def __enter__(self) -> ShardWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._cutter.__exit__()

    def run(self, task: ShardTask, on_clip: Callable[[Tally], None] | None = None) -> Tally:
        """Cut what `task` lacks and commit the shard."""
        spec, total, done = self._spec, Tally(), []
        folder = clips_folder(spec.out_dir, task.shard)
        folder.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in folder.glob(".*.tmp"):
            left_by_a_kill.unlink(missing_ok=True)
        journal = Journal(self._ledger.inflight_file(task.shard).with_suffix(".jsonl"))
        known = committed_cuts(self._ledger, task.shard) | journal.cuts()
        for row in task.rows:
            landmarks = spec.landmarks.load(row["clip_id"]) if row["clip_id"] in spec.landmarks else None
            target = folder / f"{new_names(row, spec.settings_digest, spec.settings)[1]}.mp4"
            cut, tally = known.get(row["clip_id"]), Tally(reused=1)
            if cut is None or row["clip_id"] in task.force or not self._still_right(cut, row, target):
                cut = self._cutter.cut(row, landmarks, target)
                journal.add(row["clip_id"], cut)
                tally = Tally(clips=1, failed=int(cut.error_kind is not None), media_ms=cut.n_frames * 40.0)
            done.append(finished(row, landmarks, cut, target, spec.settings_digest, spec.settings, spec.code_version))
            total.add(tally)
            if on_clip is not None:
                on_clip(tally)
        self._commit(task, done, folder)
        journal.remove()
        return total

    def _still_right(self, cut: Cut, row: dict[str, Any], target: Path) -> bool:
        """The clip was cut from the same with the same settings, and its file is there."""
        if cut.key != cut_key(row, self._spec.settings_digest, self._spec.settings):
            return False
        return cut.error_kind is not None or target.exists()

    def _commit(self, task: ShardTask, done: list[ScoredClip], folder: Path) -> None:
        """Landmarks first, then the rows, whose rename is the commitment; then files that no row names any more are removed."""
        shard, spec = task.shard, self._spec
        table = {
            item.row["clip_id"]: (item.faces.times_ms, item.faces.n_faces, item.faces.points_px, item.faces.confidence)
            for item in done
            if item.faces is not None
        }
        for file in (self._ledger.landmarks_file(shard), self._ledger.shard_file(shard)):
            file.parent.mkdir(parents=True, exist_ok=True)
        manifests.write_landmarks(self._ledger.landmarks_file(shard), table)
        state = {"parts": {}, "clips_digest": rows_digest(task.rows), "n_rows": len(done)}
        columns = (*COLUMNS, *spec.columns)
        rows = to_table([item.row for item in done], columns)
        manifests.write(rows, self._ledger.shard_file(shard), {**spec.run_config, "shard": state}, columns)
        kept = {Path(item.row["video_path"]).name for item in done if item.faces is not None}
        for file in folder.glob("*.mp4"):
            if file.name not in kept:
                file.unlink()


class RayShardWorker:
    """A `ShardWorker` on Ray: a task is one shard."""

    def __init__(self, spec: WorkerSpec):
        self._worker = ShardWorker(spec)

    def __call__(self, task: str) -> Tally:
        return self._worker.run(ShardTask.from_json(task))


class Journal:
    """Cuts of a shard that is not committed yet, a line each, so that a killed worker's finished clips are not cut again."""

    def __init__(self, file: Path):
        self._file = file

    def add(self, parent_clip_id: str, cut: Cut) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps({"parent_clip_id": parent_clip_id, "cut": cut.to_json()}) + "\n")

    def cuts(self) -> dict[str, Cut]:
        """By parent clip; a line that a kill cut off, or of another version, is passed over."""
        found: dict[str, Cut] = {}
        with suppress(FileNotFoundError):
            for line in self._file.read_text(errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    found[entry["parent_clip_id"]] = Cut(**entry["cut"])
        return found

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


def committed_cuts(ledger: Ledger, shard: int) -> dict[str, Cut]:
    """Cuts of a committed shard by parent clip, from its rows."""
    found = {}
    for row in ledger.rows(shard).values():
        n_frames = round((row["duration_ms"] or 0) / 40) if row["status"] == "scored" else 0
        found[row["parent_clip_id"]] = Cut(
            row["materialise_key"],
            n_frames=n_frames,
            has_audio=bool(row["has_audio"]) if row["status"] == "scored" else False,
            width_px=row["parent_width_px"] or 0,
            height_px=row["parent_height_px"] or 0,
            decode_ms=row["decode_ms"] or 0.0,
            attempts=row["attempts"],
            error_kind=row["error_kind"],
            error_message=row["error_message"],
        )
    return found


def rows_digest(rows: Iterable[dict[str, Any]]) -> str:
    """Names what a shard's new rows are made from: the parent's rows as they stand."""
    return clips_digest(json.dumps(row, sort_keys=True, default=str) for row in rows)


def clips_folder(out_dir: Path | str, shard: int) -> Path:
    return Path(out_dir) / CLIPS_DIR / f"{shard:05d}"
