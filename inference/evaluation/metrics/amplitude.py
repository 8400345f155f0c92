"""How far head and mouth move: what the amplitude controls of Eq. 3 and Eq. 4 are to change, in units of their own."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import RIGID, eye_centres, interocular
from inference.evaluation.metrics.base import AT_LEAST_0, ClipMetric, Judged, MetricColumn
from inference.evaluation.metrics.face import mouth_opening

_SOURCE = "this project; MegActor-Σ Eq. 3 and 4"


class Amplitude(ClipMetric):
    """Spreads over the clip of the head's place, roll and size in the picture, and of the mouth's opening."""

    name = "amplitude"
    columns = (
        MetricColumn("head_shift_range", "as real", "eye distances", "standard deviation of the rigid points' centre", _SOURCE, AT_LEAST_0),
        MetricColumn("head_roll_range_deg", "as real", "deg", "standard deviation of the line through the eyes", _SOURCE, AT_LEAST_0),
        MetricColumn(
            "head_zoom_range", "as real", "", "standard deviation of the logarithm of the rigid points' size", _SOURCE, AT_LEAST_0
        ),
        MetricColumn("mouth_range", "as real", "eye distances", "standard deviation of the mouth opening", _SOURCE, AT_LEAST_0),
    )

    def score(self, pair: Judged) -> dict[str, float]:
        faces = pair.answer.faces
        if faces.seen.sum() < 2:
            return {}
        return ranges(faces.points_px[faces.seen].astype(np.float64))


def ranges(points_px: np.ndarray) -> dict[str, float]:
    """The four spreads of (T, 68, 2) points, all seen."""
    rigid = points_px[:, RIGID]
    centre = rigid.mean(axis=1)
    size = np.sqrt(((rigid - centre[:, None]) ** 2).sum(-1).mean(-1))
    right, left = eye_centres(points_px)
    line = left - right
    roll = np.unwrap(np.arctan2(line[:, 1], line[:, 0]))
    return {
        "head_shift_range": float(np.sqrt(centre.var(axis=0).sum()) / np.median(interocular(points_px))),
        "head_roll_range_deg": float(np.degrees(roll.std())),
        "head_zoom_range": float(np.log(size).std()),
        "mouth_range": float(mouth_opening(points_px).std()),
    }
