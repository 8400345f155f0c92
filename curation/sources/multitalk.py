"""Source `multitalk`: MultiTalk (Sung-Bin et al., Interspeech 2024): talking clips of YouTube videos in 20 languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.contracts import Clip, IndexReport, Source
from curation.sources.index_files import Box, IndexLog, VideoFolder, box, index_folder, json_entries, real, shown, span_ms, youtube_name
from curation.sources.recordings import cut_key, video_key
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, place

USES = ("auto", "videos", "clips")
_LANGUAGE = re.compile(r"[a-z]{2,20}")


@dataclass(frozen=True)
class Entry:
    """One member of a language's JSON: clip `number` of a video; the box in parts of the picture."""

    video: str
    number: int
    span_ms: tuple[int, int]
    box_share: Box
    language: str


@dataclass
class MultiTalk(Source):
    """The spans that `annotations/{language}.json` names, in `raw_video/{language}/{id}` or as `multitalk_dataset/{language}/{id}_{n}`.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
        languages: which languages to read; empty = all that have an annotation file.
        use: `videos` = spans of the whole videos in `raw_video`; `clips` = what the data set's own script has cut and cropped;
            `auto` = videos where that folder is there.
    """

    name = "multitalk"
    licence = "none stated; YouTube videos of their owners"

    root: str
    languages: tuple[str, ...] = ()
    use: str = "auto"
    _log: IndexLog = field(default_factory=IndexLog, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.use not in USES:
            raise UserError(f"source_settings.use is {self.use!r}{did_you_mean(self.use, USES)}")
        known = [path.stem for path in self._annotations()]
        for language in self.languages:
            if language not in known:
                raise UserError(f"source_settings.languages: no annotations of {language!r}{did_you_mean(language, known)}")

    def clips(self) -> Iterator[Clip]:
        self._log = IndexLog()
        whole_videos = self._whole_videos()
        folder = "raw_video" if whole_videos else "multitalk_dataset"
        for path in self._annotations():
            language = path.stem
            if not self.languages or language in self.languages:
                yield from self._language_clips(path, VideoFolder(place(self.root) / folder / language), whole_videos)

    def report(self) -> IndexReport:
        return self._log.report()

    def _annotations(self) -> list[Place]:
        folder = index_folder(self.root, "annotations", ".", holds="*.json")
        return sorted(path for path in folder.glob("*.json") if _LANGUAGE.fullmatch(path.stem))

    def _whole_videos(self) -> bool:
        has_clips, has_videos = ((place(self.root) / name).is_dir() for name in ("multitalk_dataset", "raw_video"))
        return self.use == "videos" or (self.use == "auto" and (has_videos or not has_clips))

    def _language_clips(self, annotations: Place, files: VideoFolder, whole_videos: bool) -> Iterator[Clip]:
        seen: set[str] = set()
        for where, key, value in json_entries(annotations, "{", self._log):
            self._log.n_named += 1
            try:
                entry = parse_entry(key, value, annotations.stem)
                if key in seen:
                    raise ValueError(f"the entry {shown(key)} again")
            except ValueError as error:
                self._log.skip(where, error)
                continue
            seen.add(key)
            yield self._clip(entry, key, files, whole_videos)

    def _clip(self, entry: Entry, key: str, files: VideoFolder, whole_videos: bool) -> Clip:
        name = f"{entry.language}/{key}"
        path, there = files.find(entry.video if whole_videos else key)
        if not there:
            self._log.lacks(path)
        person = f"youtube:{entry.video}"
        if not whole_videos:
            return Clip(self.name, cut_key(entry.video, name, entry.span_ms), person, path, licence=self.licence)
        return Clip(
            self.name,
            video_key(entry.video, name),
            person,
            path,
            *entry.span_ms,
            face_box_px=entry.box_share,
            licence=self.licence,
            face_box_width_px=1.0,
            face_box_height_px=1.0,
            time_zero="container",  # its script cuts by ffmpeg's -ss and -to
        )


def parse_entry(key: str, value: Any, language: str) -> Entry:
    """`"{id}_{n}": {youtube_id, duration: {start_sec, end_sec}, bbox: {top, bottom, left, right}, language, transcript}`.

    Raises:
        ValueError: what is wrong with the entry.
    """
    video = youtube_name(_member(value, "youtube_id"))
    number = re.fullmatch(re.escape(video) + r"_([0-9]{1,6})", key)
    if not number:
        raise ValueError(f"the key {shown(key)} is not the YouTube id {video} and a number")
    if value.get("language", language) != language:
        raise ValueError(f"the language {shown(value['language'])} is not the file's")
    start_s, end_s = (real(_member(_member(value, "duration"), name)) for name in ("start_sec", "end_sec"))
    x0, y0, x1, y1 = (real(_member(_member(value, "bbox"), name)) for name in ("left", "top", "right", "bottom"))
    if min(x0, y0) < 0:
        raise ValueError("the face box is not within 0..1")
    return Entry(video, int(number[1]), span_ms(start_s * 1000, end_s * 1000), box(x0, y0, x1, y1, limit=1.0), language)


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping) or name not in value:
        raise ValueError(f"no {name}")
    return value[name]
