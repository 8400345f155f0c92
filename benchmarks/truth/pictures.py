"""A picture of what drives what: one person's answers where the driver's lids and lips go furthest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.truth.conditions import CONDITIONS
from benchmarks.truth.drivers import driver_of
from benchmarks.truth.factors import SIGNALS
from benchmarks.truth.measure import Measure
from benchmarks.truth.models import Cast, Packaged

ROWS = ("both", "eyes", "sound+eyes")
_COLUMNS, _SHOWN_PX = 8, 128


def telling_frames(signals: np.ndarray, count: int = _COLUMNS, factors: Sequence[str] = ("lids", "lips")) -> list[int]:
    """Frames, in order, in which factors of (T, 10) signals are furthest from their mean, some apart from each other."""
    tracks = signals[:, [SIGNALS.index(name) for name in factors]]
    far = np.abs((tracks - tracks.mean(0)) / (tracks.std(0) + 1e-9)).max(1)
    chosen: list[int] = []
    apart = max(1, len(signals) // (2 * count))
    for frame in np.argsort(-far):
        if len(chosen) < count and all(abs(frame - other) >= apart for other in chosen):
            chosen.append(int(frame))
    return sorted(chosen)


def strip(measure: Measure, number: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: the driver, then a row a condition of `ROWS` that the model can be given."""
    driver = measure.people[driver_of(number, len(measure.people))]
    frames = telling_frames(driver.signals)
    footage = measure.footage(driver)
    rows = [measure.model.own_crop(footage)[0][frames]]
    for name in ROWS:
        if name in measure.conditions:
            answer, _ = measure.model.answer(CONDITIONS[name], measure.portrait(number), footage, driver.act.sound)
            rows.append(answer[frames])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def save_strip(measure: Measure, path: Path) -> None:
    """As JPEG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(strip(measure)).save(path, quality=88)


def save_leak(models: Mapping[str, Path], cast: Cast, path: Path, preset: str = "fast", number: int = 0) -> None:
    """As JPEG: the driver where its lids and brows are furthest from their mean, then a row a model that is shown the eyes alone.

    Args:
        models: runs or pipelines, by name.
        number: of the portrait.
    """
    from PIL import Image

    driver = cast.people[driver_of(number, len(cast.people))]
    frames, footage = telling_frames(driver.signals, factors=("lids", "brows")), cast.footage(driver)
    rows: list[np.ndarray] = []
    for folder in models.values():
        model = Packaged(str(folder), preset)
        rows = rows or [model.own_crop(footage)[0][frames]]
        answer, _ = model.answer(CONDITIONS["eyes"], cast.portrait(number, model.pipe.settings), footage, driver.act.sound)
        rows.append(answer[frames])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    larger = max(1, _SHOWN_PX // rows[0].shape[1])  # of models with small pictures
    Image.fromarray(picture.repeat(larger, axis=0).repeat(larger, axis=1)).save(path, quality=88)
