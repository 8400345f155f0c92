"""From the clock that an index counts by to the video's own, which begins with its first frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.contracts import FileSpan


def after_first_frame(start_ms: float, end_ms: float | None, video_start_ms: float) -> tuple[float, float | None]:
    """A span after time 0 of a container as one after the first frame of its video, which is shown at `video_start_ms`. There is nothing to
    see before that frame: a span that begins earlier begins with it. Whole milliseconds stay integers where the clocks agree."""
    if not video_start_ms:
        return start_ms, end_ms
    return max(0.0, start_ms - video_start_ms), None if end_ms is None else end_ms - video_start_ms


def span_of(row: Mapping[str, Any]) -> FileSpan:
    """The span of a manifest's row.

    Args:
        row: has `video_path`, `start_ms`, `end_ms`; `video_start_ms` may be missing or null, in rows of when every span counted from the
            first frame.
    """
    from curation.contracts import FileSpan  # here: the decoding child imports this module and must start quickly

    start_ms, end_ms, video_start_ms = (_number(row.get(name)) for name in ("start_ms", "end_ms", "video_start_ms"))
    return FileSpan(row["video_path"], *after_first_frame(start_ms or 0, end_ms, video_start_ms or 0.0))


def _number(value: Any) -> float | None:
    """None for what tables have for null: None, NaN or NA; an integer where the value is whole."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() else number
