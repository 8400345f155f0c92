"""Opening a file that nobody vouches for."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.media.errors import DecodeError

# Play lists and scripts (hls, dash, concat, sdp ...) and the text and image "containers" are left out: they open other files or take
# anything for a video.
_CONTAINERS = (
    "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,live_flv,asf,asf_o,ogg,mxf,ivf,h264,hevc,av1,obu,m4v,yuv4mpegpipe,nut,rm,dv,gxf,wtv,"
    "wav,w64,mp3,aac,flac,ac3,eac3,aiff,caf,ape,amr,au"
)
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # of MP4 and QuickTime files
_REASONS = {
    errno.ENOENT: ("missing_file", "the file is not there"),
    errno.ENOTDIR: ("missing_file", "the file is not there: a part of its path is no directory"),
    errno.EACCES: ("unreadable", "no permission to read the file"),
    errno.EPERM: ("unreadable", "no permission to read the file"),
    errno.ELOOP: ("unreadable", "the path is a loop of symbolic links"),
    errno.ENAMETOOLONG: ("unreadable", "the path is too long"),
}
_KINDS_OF_FILE = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def open_descriptor(path: str) -> int:
    """A descriptor of a regular, non-empty file; never blocks on pipes and devices.

    Raises:
        DecodeError: missing_file, unreadable, empty_file.
    """
    try:
        _require_regular(Path(path).stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:
        raise DecodeError("missing_file", f"the path cannot be a file's: {error}") from error
    except OSError as error:
        kind, text = _REASONS.get(error.errno or 0, ("unreadable", f"the file cannot be read: {error.strerror}"))
        raise DecodeError(kind, text) from error
    try:
        state = os.fstat(descriptor)
        _require_regular(state)  # again: the path may have changed hands in between
        if state.st_size == 0:
            raise DecodeError("empty_file", "the file has no bytes")
    except DecodeError:
        os.close(descriptor)
        raise
    return descriptor


def open_container(descriptor: int, max_frame_px: int) -> Any:
    """An `av` input container over the descriptor.

    ffmpeg sees neither the file's name nor any other file: the only protocol it may use is the descriptor, and only real containers are
    tried.

    Raises:
        DecodeError: not_a_video, truncated.
    """
    import av

    try:
        return av.open(
            "fd:",
            mode="r",
            options={"max_pixels": str(max_frame_px)},
            container_options={"fd": str(descriptor), "protocol_whitelist": "fd", "format_whitelist": _CONTAINERS},
            metadata_errors="replace",
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        require_whole_index(descriptor)
        raise DecodeError("not_a_video", f"no container that can be opened: {getattr(error, 'strerror', None) or error}") from error


def _require_regular(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        what = next((name for test, name in _KINDS_OF_FILE if test(state.st_mode)), "no regular file")
        raise DecodeError("unreadable", f"the path is {what}, not a file")


def require_whole_index(descriptor: int) -> None:
    """An MP4 file that was cut off before or within its index may still open, with some of its streams.

    Raises:
        DecodeError: truncated.
    """
    size = os.fstat(descriptor).st_size
    name, end = b"", 0
    for name, end in _boxes(descriptor):
        if name == b"moov" and end <= size:
            return
    if end > size or (end == size and name):
        raise DecodeError("truncated", "an MP4 file without its whole index (moov): it was cut off before the end")


def is_cut_off(descriptor: int) -> bool:
    """Whether an MP4 file ends within one of its parts."""
    return any(end > os.fstat(descriptor).st_size for _, end in _boxes(descriptor))


def canonical_path(path: str) -> str:
    """Absolute, so that it means the same in a process with another working directory; a URL is."""
    if "://" in path:  # `manifests.places.is_url`, which this module does not import: it would bring pandas into the decoding child
        return path
    return str(Path(path).absolute()) if "\0" not in path else path


def _boxes(descriptor: int) -> Iterator[tuple[bytes, int]]:
    """(type, end) of each top-level box of an MP4 or QuickTime file; the last one may end beyond the file. Nothing for other files; stops
    where the chain is damaged."""
    size = os.fstat(descriptor).st_size
    if os.pread(descriptor, 8, 0)[4:8] not in _FIRST_BOXES:
        return
    at = 0
    while at < size:
        head = os.pread(descriptor, 16, at)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if len(head) < 8:
            length = 8
        if length < 8:
            return
        at += length
        yield head[4:8], at
