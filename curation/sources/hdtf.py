"""Source `hdtf`: HDTF (Zhang et al., CVPR 2021): long talking-face spans of YouTube videos, from its text lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from curation.contracts import Clip, IndexReport, Source
from curation.sources.index_files import Box, IndexLog, VideoFolder, box, file_name, index_folder, numbered_lines, span_ms, whole
from curation.sources.index_files import youtube_name as checked_id
from curation.sources.recordings import cut_key, video_key
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, place

T = TypeVar("T")

GROUPS = ("RD", "WDA", "WRA")
USES = ("auto", "videos", "clips")
TIMES_LIST = "annotion_time"  # the data set's own spelling
_STAMP = re.compile(r"(?:([0-9]{1,2}):)?([0-5]?[0-9]):([0-5][0-9])")


@dataclass(frozen=True)
class Group:
    """The lists of RD, WDA or WRA by name: YouTube id, picture height and crop, where they have one."""

    videos: dict[str, str]
    heights_px: dict[str, int]
    crops_px: dict[str, Box]


@dataclass
class HDTF(Source):
    """The k-th interval of each video of `{RD,WDA,WRA}_annotion_time.txt`, in `videos/{name}` or as `clips/{name}_{k}`.

    The crop of `*_crop_wh.txt` becomes the face box, in the scale of `*_resolution.txt`; where that height cannot be right, there is none.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
        groups: which of RD, WDA, WRA.
        use: `videos` = spans of the whole videos; `clips` = files that were cut (and cropped) already; `auto` = videos where that folder
            is there.
    """

    name = "hdtf"
    licence = "CC BY 4.0 (index); YouTube videos of their owners"

    root: str
    groups: tuple[str, ...] = GROUPS
    use: str = "auto"
    _log: IndexLog = field(default_factory=IndexLog, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.use not in USES:
            raise UserError(f"source_settings.use is {self.use!r}{did_you_mean(self.use, USES)}")
        if not self.groups or any(group not in GROUPS for group in self.groups):
            raise UserError(f"source_settings.groups is {self.groups!r}; it may hold {', '.join(GROUPS)}")
        self._lists()

    def clips(self) -> Iterator[Clip]:
        self._log = IndexLog()
        folder = self._lists()
        whole_videos = self._whole_videos()
        files = VideoFolder(place(self.root) / ("videos" if whole_videos else "clips"))
        for name in self.groups:
            times = folder / f"{name}_{TIMES_LIST}.txt"
            if times.is_file():
                group = self._read_group(folder, name)
                for video, k, interval_ms in self._intervals(times):
                    yield self._clip(name, group, video, k, interval_ms, files, whole_videos)

    def report(self) -> IndexReport:
        return self._log.report()

    def _lists(self) -> Place:
        return index_folder(self.root, "HDTF_dataset", ".", holds=f"*_{TIMES_LIST}.txt")

    def _whole_videos(self) -> bool:
        has_clips, has_videos = ((place(self.root) / name).is_dir() for name in ("clips", "videos"))
        return self.use == "videos" or (self.use == "auto" and (has_videos or not has_clips))

    def _read_group(self, folder: Place, name: str) -> Group:
        heights_px = self._table(folder / f"{name}_resolution.txt", 2, lambda _, columns: whole(columns[0]))
        return Group(
            videos=self._table(folder / f"{name}_video_url.txt", 2, lambda _, columns: _video_of(columns[0])),
            heights_px=heights_px,
            crops_px=self._table(
                folder / f"{name}_crop_wh.txt", 5, lambda stem, columns: _crop(columns, heights_px.get(stem.rpartition("_")[0], 0))
            ),
        )

    def _table(self, path: Place, n_columns: int, value: Callable[[str, list[str]], T]) -> dict[str, T]:
        table: dict[str, T] = {}
        for where, line in numbered_lines(path, self._log):
            columns = line.split()
            try:
                if len(columns) != n_columns:
                    raise ValueError(f"{len(columns)} columns instead of {n_columns}")
                stem = _stem(columns[0])
                if stem in table:
                    raise ValueError(f"{stem} again")
                table[stem] = value(stem, columns[1:])
            except ValueError as error:
                self._log.skip(where, error)
        return table

    def _intervals(self, times: Place) -> Iterator[tuple[str, int, tuple[int, int]]]:
        """(video, k, span) of every clip; a broken interval keeps its number, so that the later ones keep theirs."""
        seen: set[str] = set()
        for where, line in numbered_lines(times, self._log):
            stem, *intervals = line.split()
            try:
                video = _stem(stem)
                if video in seen:
                    raise ValueError(f"{video} again")
                if not intervals:
                    raise ValueError(f"{video} has no interval")
            except ValueError as error:
                self._log.n_named += 1
                self._log.skip(where, error)
                continue
            seen.add(video)
            for k, interval in enumerate(intervals):
                self._log.n_named += 1
                try:
                    yield video, k, parse_interval(interval)
                except ValueError as error:
                    self._log.skip(where, error)

    def _clip(self, name: str, group: Group, video: str, k: int, span: tuple[int, int], files: VideoFolder, whole_videos: bool) -> Clip:
        stem, long_name = f"{video}_{k}", f"{name}_{video}"
        youtube, height_px, crop_px = group.videos.get(video), group.heights_px.get(video, 0), group.crops_px.get(stem)
        if whole_videos:
            path, there = files.find(video, long_name, *([youtube] if youtube else []))
        else:
            path, there = files.find(stem, f"{long_name}_{k}", f"{long_name}_{k:03d}")
        if not there:
            self._log.lacks(path)
        person, key = identity_of(video), f"{name}/{stem}"
        if not whole_videos:
            return Clip(self.name, cut_key(youtube, key, span) if youtube else key, person, path, licence=self.licence)
        return Clip(
            self.name,
            video_key(youtube, key) if youtube else key,
            person,
            path,
            *span,
            face_box_px=crop_px,
            licence=self.licence,
            face_box_height_px=float(height_px) if crop_px else None,
            time_zero="container",  # the authors cut by ffmpeg's -ss and -to
        )


def identity_of(video: str) -> str:
    """The name without the digits at its end: `AdamKinzinger0` and `AdamKinzinger1` show one person."""
    return video.rstrip("0123456789") or video


def parse_interval(text: str) -> tuple[int, int]:
    """`mm:ss-mm:ss` (or with hours) in milliseconds.

    Raises:
        ValueError: what is wrong with it.
    """
    stamps = [found for stamp in text.split("-") if (found := _STAMP.fullmatch(stamp))]
    if len(stamps) != 2 or text.count("-") != 1:
        raise ValueError(f"{text[:40]!r} is no interval mm:ss-mm:ss")
    start_s, end_s = (3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) for hours, minutes, seconds in (s.groups() for s in stamps))
    return span_ms(start_s * 1000, end_s * 1000)


def _stem(text: str) -> str:
    return file_name(text.removesuffix(".mp4"))


def _crop(columns: list[str], picture_height_px: int) -> Box:
    """`X W Y H` as (x0, y0, x1, y1); some heights of the lists are smaller than the crop, which leaves its scale unknown."""
    x, width, y, height = (whole(column) for column in columns)
    if min(x, y) < 0:
        raise ValueError(f"the crop begins at {x}, {y}")
    if y + height > picture_height_px:
        raise ValueError(f"a crop down to {y + height} px does not fit a picture of {picture_height_px} px; the clip has no face box")
    return box(x, y, x + width, y + height)


def _video_of(url: str) -> str:
    """The id in `https://www.youtube.com/watch?v=ID`, whatever follows it, or in `https://youtu.be/ID`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"{url[:60]!r} is no address") from None
    if parts.hostname == "youtu.be":
        return checked_id(parts.path.strip("/"))
    return checked_id(parse_qs(parts.query).get("v", [""])[0])
