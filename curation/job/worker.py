"""What a worker does with one shard, whoever runs it: read what is committed, score what is missing or stale, commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from curation.config import CurationConfig, digest
from curation.contracts import Clip, ClipError, ScoredClip
from curation.job.clip_scorer import LANDMARKS_PART, ClipScorer
from curation.job.freshness import Todo, has_scores, what_to_do
from curation.job.ledger import Inflight, Ledger
from curation.job.tally import Tally

GONE_MESSAGE = "the file was scored and has vanished since; its scores stay, and count again once it is back"


@dataclass(frozen=True)
class ShardTask:
    """Work on a shard.

    Attributes:
        clips: those to bring up to date; rows of other clips stay as they are.
        stamps: what the files of `clips` are now (`file_stamps`), one a clip.
        force: clip ids to score again though committed (`retry`).
        gone: clip ids of committed rows that the source names no more and whose files have vanished.
    """

    shard: int
    clips: tuple[Clip, ...]
    stamps: tuple[str | None, ...]
    force: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def to_json(self) -> str:
        clips = [asdict(clip) for clip in self.clips]
        tree = {"shard": self.shard, "clips": clips, "stamps": self.stamps, "force": sorted(self.force), "gone": sorted(self.gone)}
        return json.dumps(tree)

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        tree = json.loads(text)
        clips = []
        for clip in tree["clips"]:
            box = clip.pop("face_box_px")
            clips.append(Clip(**clip, face_box_px=tuple(box) if box else None))
        return cls(tree["shard"], tuple(clips), tuple(tree["stamps"]), frozenset(tree["force"]), frozenset(tree["gone"]))


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker, perhaps on another machine, needs to start."""

    config: CurationConfig
    out_dir: str
    session: str
    code_version: str
    run_config: dict[str, Any]


class ShardWorker:
    """Owns a `ClipScorer`; runs shard after shard. A context manager."""

    def __init__(self, spec: WorkerSpec, on_moment: Callable[[Clip, float, float], None] | None = None):
        self._spec = spec
        self._ledger = Ledger(spec.out_dir)
        self._scorer = ClipScorer(spec.config, spec.code_version, on_moment)

    def __enter__(self) -> ShardWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._scorer.__exit__()

    def run(self, task: ShardTask, on_clip: Callable[[Tally], None] | None = None) -> Tally:
        """Bring the clips of `task` up to date and commit the shard."""
        rows = self._ledger.rows(task.shard)
        shard = _Shard(task.shard, dict(self._ledger.parts(task.shard)) if rows else {})
        inflight = Inflight(self._ledger.inflight_file(task.shard), self._spec.session, self._spec.config.job.worker_deaths)
        total, done = Tally(), []
        for clip, stamp in zip(task.clips, task.stamps, strict=True):
            row = rows.pop(clip.clip_id, None)
            item, tally = self._brought_up_to_date(clip, stamp, row, shard, inflight, forced=clip.clip_id in task.force)
            done.append(item)
            total.add(tally)
            if on_clip is not None:
                on_clip(tally)
        for row in rows.values():  # no longer named by the source, or not asked for: kept
            done.append(self._kept(task.shard, _marked_gone(row) if row["clip_id"] in task.gone else row))
        spec = self._spec
        self._ledger.commit(task.shard, done, self._scorer.parts, spec.run_config, spec.config.preset, self._scorer.columns)
        return total

    def _brought_up_to_date(
        self, clip: Clip, stamp: str | None, row: dict[str, Any] | None, shard: _Shard, inflight: Inflight, *, forced: bool
    ) -> tuple[ScoredClip, Tally]:
        todo = Todo.SCORE if row is None or forced else what_to_do(row, stamp, self._scorer.config_hash, shard.config_hash)
        if row is not None and todo in _WITHOUT_WORK:
            return self._kept(shard.number, _WITHOUT_WORK[todo](row) | {"file_stamp": row.get("file_stamp") or stamp}), Tally(reused=1)
        attempts = row["attempts"] if row else 0
        if not inflight.begin(clip):
            died = ClipError("crash", "workers died again and again while they had this clip in hand")
            item = self._scorer.failed(clip, died, attempts + 1)
        elif row is not None and todo is Todo.RESCORE_PARTS:
            stale = frozenset(name for name, value in self._scorer.parts.items() if shard.parts.get(name) != value)
            if LANDMARKS_PART in stale:
                item = self._scorer.score(clip)
            else:
                item = self._scorer.rescore(clip, row, self._ledger.faces(shard.number, clip.clip_id), stale)
        else:
            item = self._scorer.score(clip, previous_attempts=attempts if forced else 0)
        item.row["file_stamp"] = stamp
        return item, _tally(item)

    def _kept(self, shard: int, row: dict[str, Any]) -> ScoredClip:
        return ScoredClip(row, self._ledger.faces(shard, row["clip_id"]) if has_scores(row) else None)


@dataclass(frozen=True)
class _Shard:
    """A shard as it was committed: digests of its parts, none for a new one."""

    number: int
    parts: dict[str, str]

    @property
    def config_hash(self) -> str:
        return digest(self.parts)


def _marked_gone(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "status": "failed", "error_kind": "missing_file", "error_message": GONE_MESSAGE}


def _restored(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "status": "scored", "error_kind": None, "error_message": None}


_WITHOUT_WORK: dict[Todo, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Todo.NOTHING: dict,
    Todo.NOTE_FILE: dict,
    Todo.MARK_GONE: _marked_gone,
    Todo.RESTORE: _restored,
}


def _tally(item: ScoredClip) -> Tally:
    row = item.row
    return Tally(
        clips=1,
        failed=int(row["status"] == "failed"),
        media_ms=row.get("duration_ms") or 0.0,
        decode_ms=item.spent_ms.get("decode_ms", 0.0),
        landmarks_ms=item.spent_ms.get("landmarks_ms", 0.0),
        sync_ms=item.spent_ms.get("sync_ms", 0.0),
    )
