"""Digital silence: sound that says nothing, so that no offset may be read from it."""

from __future__ import annotations

from curation.blocks import blocks
from manifests.rows import Rows

_MAX_STEPS = 2  # of 16 bits: what dither and lossy coding make of silence, on whatever level
_SAMPLES_AT_ONCE = 1 << 22


def is_silent(audio: Rows) -> bool:
    """(N,) int16 holds still, on zero or on any other level."""
    stretches = (audio[block] for block in blocks(len(audio), _SAMPLES_AT_ONCE))
    extremes = [(stretch.min(), stretch.max()) for stretch in stretches]
    return not extremes or int(max(high for _, high in extremes)) - int(min(low for low, _ in extremes)) <= _MAX_STEPS
