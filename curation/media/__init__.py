"""Decoding: a clip becomes frames on a regular grid and 16 kHz sound, in a child process that may be killed.

The names load on first use, because the child process itself imports this package and must start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.media.clock import span_of
    from curation.media.limits import MediaLimits
    from curation.media.reader import ClipStream, MediaReader, random_frames

_HOMES = {
    "ClipStream": "curation.media.reader",
    "MediaLimits": "curation.media.limits",
    "MediaReader": "curation.media.reader",
    "random_frames": "curation.media.reader",
    "span_of": "curation.media.clock",
}

__all__ = ["ClipStream", "MediaLimits", "MediaReader", "random_frames", "span_of"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
