"""Sources `voxceleb1` and `voxceleb2` (Nagrani et al., 2017; Chung et al., 2018; VGG, Oxford): face tracks in YouTube videos."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from curation.contracts import Clip, IndexReport, Source
from curation.sources.index_files import (
    MAX_COORDINATE_PX,
    MAX_MS,
    Box,
    IndexLog,
    VideoFolder,
    entries,
    numbered_lines,
    shown,
    span_ms,
    youtube_name,
)
from curation.sources.recordings import cut_key, video_key
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, place

USES = ("auto", "videos", "clips")
SUBSETS = ("all", "dev", "test")
PLACES = ("dev", "test", ".")
FRAME_MS = 40  # the tracks count frames of the video converted to 25 frames a second
MAX_FRAME = MAX_MS // FRAME_MS
MAX_GAP = 250  # frames; a track follows a face without a break, so a larger step is a broken number
_IDENTITY = re.compile(r"id[0-9]{5}")
_UTTERANCE = re.compile(r"([0-9]{1,8})\.(?:txt|mp4)")


@dataclass(frozen=True)
class Track:
    """A face track: its span in the video, and the box that holds the face on all its frames, in the index's unit."""

    span_ms: tuple[int, int]
    box: Box


@dataclass
class _VoxCeleb(Source):
    licence = "CC BY 4.0 (VGG, Oxford); YouTube videos of their owners"
    meta_name: ClassVar[str]

    root: str
    use: str = "auto"
    subset: str = "all"
    _log: IndexLog = field(default_factory=IndexLog, init=False, repr=False)

    @property
    @abstractmethod
    def box_size_px(self) -> float | None:
        """Width and height of the picture that the tracks' boxes refer to; None = pixels of the video itself."""

    def __post_init__(self) -> None:
        if self.use not in USES:
            raise UserError(f"source_settings.use is {self.use!r}{did_you_mean(self.use, USES)}")
        if self.subset not in SUBSETS:
            raise UserError(f"source_settings.subset is {self.subset!r}{did_you_mean(self.subset, SUBSETS)}")
        root = place(self.root)
        if not root.is_dir():
            raise UserError(f"ROOT {self.root} is no directory; docs/datasets.md shows what it must look like")
        if not self._trees("txt") and not self._trees("mp4"):
            raise UserError(f"{self.root} has no txt, mp4, dev/txt or dev/mp4; docs/datasets.md shows what ROOT must look like")
        if self.subset != "all" and not (root / self.meta_name).is_file():
            raise UserError(f"source_settings.subset needs {root / self.meta_name}, which says who belongs to {self.subset}")

    def clips(self) -> Iterator[Clip]:
        self._log = IndexLog()
        whole_videos = self._whole_videos()
        videos = VideoFolder(place(self.root) / "videos")
        tracks, crops = self._trees("txt"), [] if whole_videos else self._trees("mp4")
        subset_of = self._read_meta()
        places = self._identities([*tracks, *crops], subset_of)
        for identity in sorted(places):
            subset = subset_of.get(identity)
            if self.subset in ("all", subset):
                yield from self._identity_clips(identity, places[identity], videos if whole_videos else None)
        for identity in sorted(set(subset_of) - set(places)):
            if self.subset in ("all", subset_of[identity]):
                self._log.n_named += 1
                self._log.lacks(f"{place(self.root) / 'txt' / identity} (a speaker in {self.meta_name})")

    def report(self) -> IndexReport:
        return self._log.report()

    def _trees(self, kind: str) -> list[Place]:
        root = place(self.root)
        found = ((root if name == "." else root / name) / kind for name in PLACES)
        return [path for path in found if path.is_dir()]

    def _whole_videos(self) -> bool:
        has_videos = (place(self.root) / "videos").is_dir()
        return self.use == "videos" or (self.use == "auto" and (has_videos or not self._trees("mp4")))

    def _read_meta(self) -> dict[str, str]:
        """`dev` or `test` by identity; empty without the file. Copies with tabs, commas and padding blanks are about."""
        subset_of: dict[str, str] = {}
        path = place(self.root) / self.meta_name
        if not path.is_file():
            return subset_of
        n_columns = 0
        for where, line in numbered_lines(path, self._log):
            columns = [column.strip() for column in line.split("\t" if "\t" in line else ",")]
            if columns[0].startswith("VoxCeleb"):
                n_columns = len(columns)
                continue
            try:
                if len(columns) != n_columns:
                    raise ValueError(f"{len(columns)} columns instead of {n_columns}")
                if not _IDENTITY.fullmatch(columns[0]) or columns[0] in subset_of:
                    raise ValueError(f"{columns[0][:40]!r} is no identity, or is there again")
                if columns[-1] not in ("dev", "test"):
                    raise ValueError(f"{columns[-1][:40]!r} is neither dev nor test")
            except ValueError as error:
                self._log.skip(where, error)
                continue
            subset_of[columns[0]] = columns[-1]
        return subset_of

    def _identities(self, trees: list[Place], subset_of: dict[str, str]) -> dict[str, list[Place]]:
        """Where each identity has a folder; folders of another name are reported."""
        places: dict[str, list[Place]] = defaultdict(list)
        for tree in trees:
            for name in entries(tree):
                where = self._relative(tree / name)
                if not _IDENTITY.fullmatch(name):
                    self._log.skip(where, "is no identity")
                elif subset_of and name not in subset_of:
                    self._log.skip(where, f"{name} is not in {self.meta_name}")
                else:
                    places[name].append(tree / name)
        return places

    def _identity_clips(self, identity: str, folders: list[Place], videos: VideoFolder | None) -> Iterator[Clip]:
        """The utterances of one person; `videos` is None where the crops are used."""
        for video in sorted({name for folder in folders for name in entries(folder)}):
            try:
                youtube_name(video)
            except ValueError as error:
                self._log.skip(self._relative(folders[0] / video), error)
                continue
            tracks, crops = self._utterances(folders, video)
            for utterance in sorted(set(tracks) | set(crops)):
                self._log.n_named += 1
                track = self._track(tracks[utterance], identity, video) if utterance in tracks else None
                name = f"{identity}/{video}/{utterance}"
                if videos is None:
                    path = crops.get(utterance) or _crop_of(tracks[utterance])
                    if utterance not in crops:
                        self._log.lacks(str(path))
                    key = cut_key(video, name, track.span_ms if track else None)
                    yield Clip(self.name, key, identity, str(path), licence=self.licence)
                elif track:
                    yield self._video_clip(track, identity, video, name, videos)

    def _utterances(self, folders: list[Place], video: str) -> tuple[dict[str, Place], dict[str, Place]]:
        """Track files and crops of one video by utterance; of two of a name the first is taken, the other reported."""
        tracks: dict[str, Place] = {}
        crops: dict[str, Place] = {}
        for folder in folders:
            found, suffix = (tracks, ".txt") if folder.parent.name == "txt" else (crops, ".mp4")
            for name in entries(folder / video):
                shape = _UTTERANCE.fullmatch(name)
                if shape and name.endswith(suffix) and found.setdefault(shape[1], folder / video / name) != folder / video / name:
                    self._log.skip(self._relative(folder / video / name), f"the same utterance again, after {found[shape[1]]}")
        return tracks, crops

    def _video_clip(self, track: Track, identity: str, video: str, name: str, videos: VideoFolder) -> Clip:
        path, there = videos.find(video)
        if not there:
            self._log.lacks(path)
        size_px = self.box_size_px
        return Clip(
            self.name,
            video_key(video, name),
            identity,
            path,
            *track.span_ms,
            face_box_px=track.box,
            licence=self.licence,
            face_box_width_px=size_px,
            face_box_height_px=size_px,
            time_zero="container",  # a conversion to 25 frames a second repeats the first frame back to time 0
        )

    def _track(self, path: Place, identity: str, video: str) -> Track | None:
        """The track, or None with a note. Rows that cannot be read are noted and left out."""
        name = self._relative(path)
        try:
            lines = path.read_text("utf-8-sig", errors="replace").split("\n")
        except OSError as error:
            self._log.skip(name, f"cannot be read: {error.strerror}")
            return None
        start = next((number for number, line in enumerate(lines) if line.startswith("FRAME")), len(lines))
        for number, line in enumerate(lines[:start], 1):
            if mistake := _header_mistake(line, identity, video):
                self._log.skip(f"{name}:{number}", mistake)
                return None
        frames: list[int] = []
        boxes: list[Box] = []
        for number, line in enumerate(lines[start + 1 :], start + 2):
            try:
                if line.strip():
                    frame, face = parse_row(line)
                    if frames and not 0 < frame - frames[-1] <= MAX_GAP:
                        raise ValueError(f"frame {frame} after frame {frames[-1]}")
                    frames.append(frame)
                    boxes.append(face)
            except ValueError as error:
                self._log.skip(f"{name}:{number}", error)
        if not frames:
            self._log.skip(f"{name}:{len(lines)}", "the track has no row that can be used")
            return None
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return Track(span_ms(frames[0] * FRAME_MS, (frames[-1] + 1) * FRAME_MS), (min(x0), min(y0), max(x1), max(y1)))

    def _relative(self, path: Place) -> str:
        return os.fsencode(str(path.relative_to(place(self.root)))).decode("utf-8", "backslashreplace")


@dataclass
class VoxCeleb1(_VoxCeleb):
    """The tracks `txt/{id}/{youtube id}/{utterance}.txt` in `videos/{youtube id}`; boxes are pixels of the video.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
        use: `videos` = spans of the whole videos; `clips` = face crops in an `mp4` tree; `auto` = videos where that folder is there.
        subset: `dev` or `test` reads only the speakers that `vox1_meta.csv` counts there.
    """

    name = "voxceleb1"
    meta_name = "vox1_meta.csv"
    box_size_px = None


@dataclass
class VoxCeleb2(_VoxCeleb):
    """As `VoxCeleb1`, with boxes in parts of the picture; `clips` are the official 224 px face crops `{dev,test}/mp4/...`.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
        use: `videos` = spans of the whole videos; `clips` = the crops; `auto` = videos where that folder is there.
        subset: `dev` or `test` reads only the speakers that `vox2_meta.csv` counts there.
    """

    name = "voxceleb2"
    meta_name = "vox2_meta.csv"
    box_size_px = 1.0


def parse_row(line: str) -> tuple[int, Box]:
    """`FRAME X Y W H` as (frame, (x0, y0, x1, y1)). There are some 200 million of these, hence one test for all that can be wrong.

    Raises:
        ValueError: what is wrong with the row.
    """
    columns = line.split()
    if len(columns) != 5:
        raise ValueError(f"{len(columns)} columns instead of 5")
    frame, (x, y, width, height) = int(columns[0]), map(float, columns[1:])
    most = MAX_COORDINATE_PX
    if not (0 <= frame < MAX_FRAME and -most <= x <= most and -most <= y <= most and 0 < width <= most and 0 < height <= most):
        raise ValueError("the frame number is negative or too large, or the face box is empty or out of range")
    return frame, (x, y, x + width, y + height)


def _crop_of(track: Place) -> Place:
    """Where the crop of a track would lie: in `mp4` beside `txt`."""
    return track.parents[2].with_name("mp4") / track.parent.relative_to(track.parents[2]) / f"{track.stem}.mp4"


def _header_mistake(line: str, identity: str, video: str) -> str | None:
    """What is wrong with a line above the table: it must be blank or `Key : value`, and name the path's person and video."""
    key, colon, value = (part.strip() for part in line.partition(":"))
    if not colon:
        return f"{shown(line)} is no header line" if key else None
    expected = {"Identity": identity, "Reference": video}.get(key, value)
    return None if value == expected else f"{key} is {shown(value)}, the folder says {expected}"
