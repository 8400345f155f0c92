"""Frames and face boxes in, embeddings of every face track out, in one pass and in bounded memory.

A crop needs boxes of later frames: the median filter looks 6 ahead, a gap of detections is bridged after up to 25, a cut is certain after
15. Whole frames wait for that in a queue, seldom more than 25 and never more than about 50, besides those whose boxes come late; crops are
embedded in chunks and forgotten.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from curation.pieces import Pieces
from curation.spool import Spool
from curation.syncnet.crop import SMOOTHING_TAPS, centre_and_half, crop_face, smoothed
from curation.syncnet.network import EMBEDDING, Embedder
from curation.syncnet.score import WINDOW_FRAMES
from curation.syncnet.shots import ShotDetector
from curation.syncnet.tracks import FaceTracks, Track
from manifests.rows import Rows

_AHEAD = SMOOTHING_TAPS // 2


@dataclass(frozen=True)
class LipTrack:
    """A face track as SyncNet sees it.

    Attributes:
        first: index of its first frame.
        squares_px: (T, 3) centre x, centre y, half side of each crop.
        lips: (T - 4, 1024) float32; they lie on disk.
    """

    first: int
    squares_px: np.ndarray
    lips: Rows

    @property
    def n_frames(self) -> int:
        return len(self.squares_px)


@dataclass(eq=False)
class _Crops:
    """The crops of one track: those that wait, and what became of the others."""

    squares_px: array[float] = field(default_factory=lambda: array("d"))  # three numbers a crop
    waiting: list[np.ndarray] = field(default_factory=list)
    lips: list[tuple[int, int]] = field(default_factory=list)  # (first, n) of the pieces among the stream's embeddings

    @property
    def n_cut(self) -> int:
        return len(self.squares_px) // 3


class LipStream:
    """The face tracks of one clip. Frames and boxes come in the order of time; boxes may lag behind.

    Args:
        embedder: the network.
        min_track_frames: tracks with no more detections than this are dropped.
        min_face_size_px: as are tracks whose boxes are no larger on average.
    """

    def __init__(self, embedder: Embedder, *, min_track_frames: int, min_face_size_px: float):
        self._embedder = embedder
        self._min_track_frames = min_track_frames
        self._min_face_size_px = min_face_size_px
        self._shots = ShotDetector()
        self._tracks = FaceTracks()
        self._crops: dict[Track, _Crops] = {}
        self._frames: deque[np.ndarray] = deque()
        self._first_frame = 0  # index of `_frames[0]`
        self._boxes: deque[np.ndarray] = deque()
        self._tracked = 0  # frames that went into `_tracks`
        self._source: np.ndarray | None = None
        self._lips = Spool(np.float32, (EMBEDDING,))  # of all tracks, as they come
        self._done: list[LipTrack] = []
        self.most_frames_held = 0

    def add_frame(self, rgb: np.ndarray) -> None:
        """(H, W, 3) uint8 RGB; copied. The same object as before stands for the same picture."""
        self._frames.append(self._frames[-1] if rgb is self._source and self._frames else np.array(rgb))
        self._source = rgb
        self.most_frames_held = max(self.most_frames_held, len(self._frames))
        self._shots.push(self._frames[-1])
        self._advance(self._shots.delay)

    def add_boxes(self, boxes_px: np.ndarray) -> None:
        """(n, 4) face boxes x0, y0, x1, y1 of the next frame that has none yet."""
        self._boxes.append(boxes_px)
        self._advance(self._shots.delay)

    def finish(self) -> list[LipTrack]:
        """No more frames: the tracks that are long and large enough, by their beginning."""
        self._advance(0)
        self._end_shot()
        self._source = None
        return sorted(self._done, key=lambda track: track.first)

    def _advance(self, delay: int) -> None:
        while self._boxes and self._tracked + delay < self._first_frame + len(self._frames):
            index = self._tracked
            if self._shots.begins_shot(index):
                self._end_shot()
            for track in self._tracks.push(index, self._boxes.popleft()):
                self._end(track)
            self._tracked += 1
            for track in self._tracks.live:
                self._crop(track, ahead=_AHEAD)
            self._forget()

    def _end_shot(self) -> None:
        for track in self._tracks.end():
            self._end(track)

    def _end(self, track: Track) -> None:
        crops = self._crops.setdefault(track, _Crops())
        self._crop(track, ahead=0)
        del self._crops[track]
        if track.n_detected > self._min_track_frames and track.side_px > self._min_face_size_px:
            self._embed(crops)
            squares_px = np.array(crops.squares_px).reshape(-1, 3)
            self._done.append(LipTrack(track.first, squares_px, Pieces(self._lips, crops.lips)))

    def _crop(self, track: Track, ahead: int) -> None:
        """Cut what of the track can be cut, knowing that its boxes go on for `ahead` frames only after that."""
        crops = self._crops.setdefault(track, _Crops())
        n_done, n_ready = crops.n_cut, track.n_frames - ahead
        if n_ready <= n_done:
            return
        begin = max(0, n_done - _AHEAD)
        squares = smoothed(centre_and_half(track.boxes_px(begin)))  # zeros beyond the ends of the track only
        for i in range(n_done, n_ready):
            square = squares[i - begin]
            frame = self._frames[track.first + i - self._first_frame]
            crops.squares_px.extend(square)
            crops.waiting.append(np.ascontiguousarray(crop_face(frame, square)))
        if track.n_detected > self._min_track_frames and len(crops.waiting) >= self._embedder.windows_at_once + WINDOW_FRAMES - 1:
            self._embed(crops)

    def _embed(self, crops: _Crops) -> None:
        """Embed what waits; the last four crops stay, because later windows begin with them."""
        lips = self._embedder.lips(np.stack(crops.waiting))
        crops.lips.append((len(self._lips), len(lips)))
        self._lips.append(lips)
        del crops.waiting[: -(WINDOW_FRAMES - 1)]

    def _forget(self) -> None:
        needed = [track.first + self._crops[track].n_cut for track in self._tracks.live]
        first = min(needed, default=self._tracked)
        while self._first_frame < min(first, self._tracked):
            self._frames.popleft()
            self._first_frame += 1
