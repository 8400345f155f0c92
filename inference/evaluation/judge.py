"""Judges one pair: canonical form, every metric, one row. A pair that cannot be judged is a row that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from curation.landmarks import make_backend
from inference.evaluation.canonical import LONGEST_MS, SIZE_PX, AnswerError, CanonicalClip, Canonicaliser
from inference.evaluation.controls import CONTROLS, SOUGHT_ANEW
from inference.evaluation.controls import VERSION as CONTROLS_VERSION
from inference.evaluation.feature_store import FeatureStore, content_digest, key_of
from inference.evaluation.metrics.base import ClipMetric, FeatureMetric, Judged
from inference.evaluation.metrics.registry import Metrics
from inference.evaluation.pairs import Pair
from manifests.atomic import atomic_path

ROW_VERSION = 1
FEATURES_DIR = "features"
SMALLEST = 1e-9


@dataclass(frozen=True)
class Settings:
    """How an evaluation measures.

    Attributes:
        metrics: names; None = all that can run here.
        size_px, longest_ms: of the canonical form.
        landmarks: backend that finds them (facemesh, dwpose).
        metric_settings: keyword arguments by metric.
        workers: processes on Ray; 1 = this process.
    """

    metrics: tuple[str, ...] | None = None
    size_px: int = SIZE_PX
    longest_ms: int = LONGEST_MS
    landmarks: str = "facemesh"
    metric_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True)
class Task:
    """One row to make.

    Attributes:
        method: name of the method or control.
        pair: what was asked.
        answer: the method's video; None for a control row, "" where the method has none.
        target: the clip that drove it.
        reference: the still that was animated.
        other_target: whose sound the `shuffled audio` control takes; "" for any other row.
        row_file: where the row goes.
    """

    method: str
    pair: Pair
    answer: str | None
    target: str
    reference: str
    other_target: str
    row_file: Path
    notes: Mapping[str, Any] = field(default_factory=dict)


class Judge:
    """Makes rows. Holds the networks and a decoding child: one a process.

    Args:
        metrics: scores of single pairs.
        features: features whose distributions are compared.
        store: where features go.
    """

    def __init__(self, canonicaliser: Canonicaliser, metrics: list[ClipMetric], features: list[FeatureMetric], store: FeatureStore):
        self._canonicaliser = canonicaliser
        self._metrics = metrics
        self._features = features
        self._store = store
        self._last_target: tuple[str, CanonicalClip] | None = None
        self._last_still: tuple[str, CanonicalClip | None] | None = None
        self._digests: dict[str, str] = {}

    @classmethod
    def of(cls, settings: Settings, out: Path, metrics: Metrics) -> Self:
        """A judge that keeps features below `out`."""
        canonicaliser = Canonicaliser(make_backend(settings.landmarks), settings.size_px, settings.longest_ms)
        return cls(canonicaliser, metrics.clip, metrics.features, FeatureStore(out / FEATURES_DIR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._canonicaliser.close()

    def judge(self, task: Task) -> dict[str, Any]:
        """The row of a task, written to `task.row_file`; one that is there and was made from the same bytes in the same way is kept."""
        key = self._key(task)
        kept = read_row(task.row_file)
        if kept is not None and kept["key"] == key and self._has_features(kept):
            return kept
        row: dict[str, Any] = {
            "key": key,
            "method": task.method,
            "pair_id": task.pair.pair_id,
            "protocol": task.pair.protocol,
            "identity": task.pair.identity,
            "answer": task.answer,
            "target": task.target,
            **{f"set_{name}": value for name, value in task.pair.parameters.items()},
        }
        try:
            row |= {"status": "scored", **self._measured(task)}
        except AnswerError as error:
            row |= {"status": "failed", "error_kind": error.kind, "error_message": error.message}
        task.row_file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(task.row_file) as temporary:
            temporary.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
        return row

    def _has_features(self, row: Mapping[str, Any]) -> bool:
        """Whether the features that a row names are there whole."""
        named = [(one["store"], one[side]) for one in row.get("features", {}).values() for side in ("answer", "real")]
        return all(self._store.load(store, key) is not None for store, key in named)

    def _measured(self, task: Task) -> dict[str, Any]:
        target = self._target(task.target)
        if task.answer is None:
            other = self._canonicaliser.real(task.other_target) if task.other_target else target
            pair = CONTROLS[task.method](target, other)
            if task.method in SOUGHT_ANEW:
                pair = replace(pair, answer=self._canonicaliser.sought_anew(pair.answer))
        elif not task.answer:
            raise AnswerError("missing_file", f"the method has no video {task.pair.pair_id}.mp4")
        else:
            answer = self._canonicaliser.answer(task.answer, target)
            pair = Judged(answer, target.first(len(answer)), bool(task.pair.real), notes=task.notes)
        pair = replace(pair, reference=self._still(task.reference))
        row: dict[str, Any] = {"n_frames": len(pair.answer), **{f"did_{name}": value for name, value in pair.answer.record.items()}}
        for metric in self._metrics:
            row |= {name: _plain(value) for name, value in metric.score(pair).items()}
        row["features"] = {}
        real_key = key_of(self._digest(task.target), self._canonicaliser.settings, len(pair.answer))
        answer_key = key_of(self._answer_digest(task), self._digest(task.target), self._canonicaliser.settings, len(pair.answer))
        if pair.answer.frames is pair.target.frames:  # a control that shows the real pictures
            answer_key = real_key
        for kind in self._features:
            store = f"{kind.name}-{key_of(kind.version, kind.fingerprint)}"
            self._store.get(store, answer_key, partial(kind.features, pair.answer.frames))
            if pair.is_real:
                self._store.get(store, real_key, partial(kind.features, pair.target.frames))
                row["features"][kind.name] = {"store": store, "answer": answer_key, "real": real_key}
        return row

    def _target(self, path: str) -> CanonicalClip:
        """The driving clip; the last one is kept, because the rows of a pair come one after the other."""
        if self._last_target is None or self._last_target[0] != path:
            try:
                self._last_target = (path, self._canonicaliser.real(path))
            except AnswerError as error:
                raise AnswerError(error.kind, f"the driving clip: {error.message}") from error
        return self._last_target[1]

    def _still(self, path: str) -> CanonicalClip | None:
        if self._last_still is None or self._last_still[0] != path:
            try:
                self._last_still = (path, self._canonicaliser.still(path))
            except AnswerError:
                self._last_still = (path, None)
        return self._last_still[1]

    def _key(self, task: Task) -> str:
        metrics = [[metric.name, metric.version, metric.fingerprint] for metric in self._metrics]
        metrics += [[kind.name, kind.version, kind.fingerprint] for kind in self._features]
        return key_of(
            ROW_VERSION,
            self._answer_digest(task),
            self._digest(task.target),
            self._digest(task.reference),
            self._canonicaliser.settings,
            metrics,
            bool(task.pair.real),
            dict(task.notes),
        )

    def _answer_digest(self, task: Task) -> str:
        if task.answer is None:
            other = self._digest(task.other_target) if task.other_target else ""
            return f"{task.method} {CONTROLS_VERSION} {self._digest(task.target)} {other}"
        return self._digest(task.answer)

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            try:
                self._digests[path] = content_digest(path) if path else "missing"
            except OSError:
                self._digests[path] = "unreadable"
        return self._digests[path]


def read_row(file: Path) -> dict[str, Any] | None:
    """A finished row; None if it is not there or damaged."""
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and {"key", "method", "pair_id", "status"} <= set(row) else None


def _plain(value: Any) -> Any:
    """A number that JSON has; NaN and infinities become null. Eight figures: what lies beyond follows where in memory an array began, and
    would make a repeated row differ."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float):
        return value
    return None if not np.isfinite(value) else 0.0 if abs(value) < SMALLEST else float(f"{value:.8g}")
