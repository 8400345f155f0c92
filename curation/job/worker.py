"""What a worker does with one shard, whoever runs it: read what is committed, score what is missing or stale, commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from curation.config import CurationConfig
from curation.contracts import Clip, ClipError, ScoredClip
from curation.job.clip_scorer import LANDMARKS_PART, ClipScorer
from curation.job.ledger import Inflight, Ledger
from curation.job.tally import Tally


@dataclass(frozen=True)
class ShardTask:
    """The clips that belong to a shard, and those to score again though committed (`retry`)."""

    shard: int
    clips: tuple[Clip, ...]
    force: frozenset[str] = frozenset()

    def to_json(self) -> str:
        return json.dumps({"shard": self.shard, "clips": [asdict(clip) for clip in self.clips], "force": sorted(self.force)})

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        tree = json.loads(text)
        clips = []
        for clip in tree["clips"]:
            box = clip.pop("face_box_px")
            clips.append(Clip(**clip, face_box_px=tuple(box) if box else None))
        return cls(tree["shard"], tuple(clips), frozenset(tree["force"]))


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

    def __init__(self, spec: WorkerSpec):
        self._spec = spec
        self._ledger = Ledger(spec.out_dir)
        self._scorer = ClipScorer(spec.config, spec.code_version)

    def __enter__(self) -> ShardWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._scorer.__exit__()

    def run(self, task: ShardTask, on_clip: Callable[[Tally], None] | None = None) -> Tally:
        """Score what `task` lacks and commit the shard."""
        rows = self._ledger.rows(task.shard)
        parts = dict(self._ledger.parts(task.shard)) if rows else {}
        stale = frozenset(name for name, value in self._scorer.parts.items() if parts.get(name) != value)
        inflight = Inflight(self._ledger.inflight_file(task.shard), self._spec.session, self._spec.config.job.worker_deaths)
        total, done = Tally(), []
        for clip in task.clips:
            row = rows.pop(clip.clip_id, None)
            if row is not None and not stale and clip.clip_id not in task.force:
                item, tally = self._kept(task.shard, row), Tally(reused=1)
            else:
                item = self._score(clip, row, stale, inflight, forced=clip.clip_id in task.force, shard=task.shard)
                tally = _tally(item)
            done.append(item)
            total.add(tally)
            if on_clip is not None:
                on_clip(tally)
        done += [self._kept(task.shard, row) for row in rows.values()]  # no longer named by the source: kept
        spec = self._spec
        self._ledger.commit(task.shard, done, self._scorer.parts, spec.run_config, spec.config.preset, self._scorer.columns)
        return total

    def _score(self, clip: Clip, row: dict | None, stale: frozenset[str], inflight: Inflight, *, forced: bool, shard: int) -> ScoredClip:
        attempts = row["attempts"] if row else 0
        if not inflight.begin(clip):
            return self._scorer.failed(
                clip, ClipError("crash", "workers died again and again while they had this clip in hand"), attempts + 1
            )
        if row is None or forced or row["status"] == "failed" or LANDMARKS_PART in stale:
            return self._scorer.score(clip, previous_attempts=attempts if forced else 0)
        return self._scorer.rescore(clip, row, self._ledger.faces(shard, clip.clip_id), stale)

    def _kept(self, shard: int, row: dict[str, Any]) -> ScoredClip:
        return ScoredClip(row, self._ledger.faces(shard, row["clip_id"]) if row["status"] == "scored" else None)


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
