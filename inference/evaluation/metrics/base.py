"""The contract of a metric: numbers of one pair, or features whose distribution is compared over all pairs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from inference.evaluation.canonical import CanonicalClip
from manifests.errors import UserError

Better = Literal["lower", "higher", "as real"]
AT_LEAST_0, CORRELATION, SHARE = (0.0, math.inf), (-1.0, 1.0), (0.0, 1.0)  # bounds of a column


class UnavailableError(Exception):
    """A metric that cannot run here; its columns stay empty. The message is the reason, and says what to do."""


def require_numbers(metric: str, values: np.ndarray) -> np.ndarray:
    """The values, all of which are numbers.

    Raises:
        UserError: one is not; left out, it would turn into a better or an empty column without a word.
    """
    if not np.isfinite(values).all():
        raise UserError(f"{metric}: its network gives numbers that are none (NaN or infinite): its weights are damaged, fetch them again")
    return values


@dataclass(frozen=True)
class MetricColumn:
    """One number a pair.

    Attributes:
        name: of the column.
        better: which way is better; "as real" = the real clip's own value is the aim.
        unit: of the value, or empty.
        meaning: one sentence, with the definition.
        source: paper or repository that the definition comes from.
        bounds: the least and the greatest value that it can have, in its unit, either of them infinite: no interval leaves them.
    """

    name: str
    better: Better
    unit: str
    meaning: str
    source: str
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Judged:
    """What a metric sees of one pair.

    Attributes:
        answer: the method's video.
        target: the clip that drove it, cut to the same length: the real clip, or in cross-reenactment the driver.
        is_real: a perfect answer equals `target`; metrics that compare pixels need it.
        reference: the still that was animated, as a clip of one frame; None if it could not be read.
        notes: the method's own notes, e.g. `window_stride`.
    """

    answer: CanonicalClip
    target: CanonicalClip
    is_real: bool = True
    reference: CanonicalClip | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


class ClipMetric(ABC):
    """Scores one pair. Construction loads what is needed or raises `UnavailableError`.

    Attributes:
        name: of the metric; with `version` and `fingerprint` it decides whether a cached score still holds.
        columns: what `score` may return; a missing name is "not to be measured on this pair".
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[MetricColumn, ...]]

    @property
    def fingerprint(self) -> str:
        """Names weights and settings, if any."""
        return ""

    @abstractmethod
    def score(self, pair: Judged) -> dict[str, float]: ...


class FeatureMetric(ABC):
    """Features of a clip; the number is a Fréchet distance between all answers and all real clips (`inference.evaluation.frechet`).

    Attributes:
        column: the distance; its name is the metric's.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    column: ClassVar[MetricColumn]

    @property
    def fingerprint(self) -> str:
        return ""

    @abstractmethod
    def features(self, frames: np.ndarray) -> np.ndarray:
        """(N, D) float32 of (T, S, S, 3) uint8 frames at 25 fps; N may be 0 for a clip that is too short."""
