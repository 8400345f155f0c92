"""Source `talkinghead1kh`: TalkingHead-1KH (Wang, Mallya, Liu, CVPR 2021; NVIDIA): face tubes in 1-minute pieces of YouTube videos."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from curation.contracts import Clip, ClipError, IndexReport, Source
from curation.sources.index_files import Box, IndexLog, VideoFolder, box, index_folder, numbered_lines, span_ms, whole, youtube_name
from curation.sources.recordings import cut_key
from manifests.errors import UserError
from manifests.places import Place, place

if TYPE_CHECKING:
    from curation.media import MediaReader

SETS = ("train", "val", "small")
PIECE_MS = 60_000


@dataclass(frozen=True)
class Tube:
    """One line of a `*_video_tubes.txt`: frames `first`..`last` (inclusive) of a piece, box in pixels of `width_px` x `height_px`."""

    video: str
    piece: int
    first: int
    last: int
    box_px: Box
    width_px: int
    height_px: int

    @property
    def piece_name(self) -> str:
        return f"{self.video}_{self.piece:04d}"

    @property
    def name(self) -> str:
        """As the data set's own script names the clip."""
        corners = "_".join(f"{side}{value:.0f}" for side, value in zip("LTRB", self.box_px, strict=True))
        return f"{self.piece_name}_S{self.first}_E{self.last}_{corners}"


@dataclass
class TalkingHead1KH(Source):
    """The pieces `{set}/1min_clips/{id}_{piece}.mp4` below `root`, cut by `data_list/{set}_video_tubes.txt`.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
        sets: which lists to read; `small` is a part of `train`.
        fps: frame rate of all videos, which turns the index's frame numbers into times; 0 asks the first readable piece of each video.
        assumed_fps: used with `fps = 0` for videos of which no piece can be read.
    """

    name = "talkinghead1kh"
    licence = "videos CC BY 3.0, index MIT (NVIDIA)"

    root: str
    sets: tuple[str, ...] = ("train", "val")
    fps: float = 0.0
    assumed_fps: float = 30.0
    _log: IndexLog = field(default_factory=IndexLog, init=False, repr=False)

    def __post_init__(self) -> None:
        unknown = [name for name in self.sets if name not in SETS]
        if unknown or not self.sets:
            raise UserError(f"source_settings.sets is {self.sets!r}; it may hold {', '.join(SETS)}")
        if not (math.isfinite(self.fps) and self.fps >= 0 and math.isfinite(self.assumed_fps) and self.assumed_fps > 0):
            raise UserError("source_settings.fps must be 0 or above, source_settings.assumed_fps above 0")
        self._lists()

    def clips(self) -> Iterator[Clip]:
        from curation.media import MediaReader

        self._log = IndexLog()
        seen: set[str] = set()
        with MediaReader() as reader:
            for name, path in self._lists():
                pieces = VideoFolder(place(self.root) / name / "1min_clips")
                tubes = self._tubes(path, seen)
                for _, group in groupby(tubes, key=lambda item: item[1].video):
                    yield from self._video_clips(list(group), pieces, reader)

    def report(self) -> IndexReport:
        return self._log.report()

    def _lists(self) -> list[tuple[str, Place]]:
        folder = index_folder(self.root, "data_list", ".", holds="*_video_tubes.txt")
        found = [(name, folder / f"{name}_video_tubes.txt") for name in self.sets]
        found = [(name, path) for name, path in found if path.is_file()]
        if not found:
            raise UserError(f"{folder} has none of {', '.join(f'{name}_video_tubes.txt' for name in self.sets)}")
        return found

    def _tubes(self, path: Place, seen: set[str]) -> Iterator[tuple[str, Tube]]:
        for where, line in numbered_lines(path, self._log):
            self._log.n_named += 1
            try:
                tube = parse_tube(line)
                if tube.name in seen:
                    raise ValueError("the same tube again")
            except ValueError as error:
                self._log.skip(where, error)
                continue
            seen.add(tube.name)
            yield where, tube

    def _video_clips(self, tubes: list[tuple[str, Tube]], pieces: VideoFolder, reader: MediaReader) -> Iterator[Clip]:
        fps = self.fps or self._probed_fps([tube for _, tube in tubes], pieces, reader) or self.assumed_fps
        for where, tube in tubes:
            # Rounded inwards: a span that begins before its first frame would show the one before, perhaps of another shot.
            start_ms, end_ms = math.ceil(tube.first * 1000 / fps - 1e-6), math.floor((tube.last + 1) * 1000 / fps + 1e-6)
            try:
                start_ms, end_ms = span_ms(start_ms, end_ms)
            except ValueError as error:
                self._log.skip(where, f"at {fps:g} frames a second {error}")
                continue
            path, there = pieces.find(tube.piece_name)
            if not there:
                self._log.lacks(path)
            yield Clip(
                self.name,
                cut_key(tube.video, tube.name, (tube.piece * PIECE_MS, (tube.piece + 1) * PIECE_MS)),
                f"youtube:{tube.video}",
                path,
                start_ms,
                end_ms,
                face_box_px=tube.box_px,
                licence=self.licence,
                face_box_width_px=tube.width_px,
                face_box_height_px=tube.height_px,
                time_zero="first_frame",  # its script trims by the numbers of frames
            )

    @staticmethod
    def _probed_fps(tubes: list[Tube], pieces: VideoFolder, reader: MediaReader) -> float | None:
        """Of the first piece that can be read; all pieces of a video were copied from one stream."""
        for name in dict.fromkeys(tube.piece_name for tube in tubes):
            path, there = pieces.find(name)
            if there:
                try:
                    return reader.probe(path).fps or None
                except ClipError:
                    continue  # the clips of this piece will fail with the reason; another piece may be sound
        return None


def parse_tube(line: str) -> Tube:
    """`{id}_{piece}, H, W, S, E, L, T, R, B`.

    Raises:
        ValueError: what is wrong with the line.
    """
    columns = [column.strip() for column in line.split(",")]
    if len(columns) != 9:
        raise ValueError(f"{len(columns)} columns instead of 9")
    video, _, piece = columns[0].rpartition("_")
    height_px, width_px, first, last, left, top, right, bottom = (whole(column) for column in columns[1:])
    if not (0 < height_px <= 20_000 and 0 < width_px <= 20_000):
        raise ValueError(f"the picture size {width_px} x {height_px} is no size")
    if not 0 <= first <= last < 10_000_000:
        raise ValueError(f"the frames {first}..{last} are no range")
    number = whole(piece)
    if not 0 <= number <= 6_000:
        raise ValueError(f"piece {number} is out of range")
    return Tube(youtube_name(video), number, first, last, box(left, top, right, bottom), width_px, height_px)
