"""Sources `ccv1` and `ccv2`: Casual Conversations (Hazirbas et al., 2021) and its v2 (Porgali et al., 2023), of people paid by Meta."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.contracts import Clip, IndexReport, Source
from curation.sources.index_files import IndexLog, file_name, index_folder, json_entries, relative_path, shown
from manifests.places import Place, is_url, place

V1_INDEX = "CasualConversations.json"
V2_INDEX = "CasualConversationsV2.json"
_SUBJECT = re.compile(r"[0-9]{1,6}")
_V2_NAME = re.compile(r"([0-9]{1,6})_.+\.mp4", re.IGNORECASE)


@dataclass
class _Annotated(Source):
    """What both versions share: a folder whose index is looked for when the source is made."""

    root: str
    _log: IndexLog = field(default_factory=IndexLog, init=False, repr=False)

    def __post_init__(self) -> None:
        self._index()

    def report(self) -> IndexReport:
        return self._log.report()

    @abstractmethod
    def _index(self) -> Place:
        """The file of annotations.

        Raises:
            UserError: it is nowhere.
        """


@dataclass
class CasualConversations1(_Annotated):
    """Every file that `CC_annotations/CasualConversations.json` lists, below `root`.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
    """

    name = "ccv1"
    licence = "Casual Conversations data user agreement (Meta)"

    def clips(self) -> Iterator[Clip]:
        self._log = IndexLog()
        seen: set[str] = set()
        for where, subject, value in json_entries(self._index(), "{", self._log):
            try:
                person = subject_of(subject)
                files = value.get("files") if isinstance(value, Mapping) else None
                if not isinstance(files, list):
                    raise ValueError(f"subject {person} has no list of files")
            except ValueError as error:
                self._log.n_named += 1
                self._log.skip(where, error)
                continue
            for name in files:
                self._log.n_named += 1
                try:
                    path = relative_path(name)
                    if path in seen:
                        raise ValueError(f"the file {shown(path)} again")
                except ValueError as error:
                    self._log.skip(where, error)
                    continue
                seen.add(path)
                yield self._clip(path, person)

    def _clip(self, name: str, person: str) -> Clip:
        path = place(self.root) / name
        if not (path.exists() if is_url(path) else os.path.lexists(path)):
            self._log.lacks(str(path))
        return Clip(self.name, name, f"ccv1:{person}", str(path), licence=self.licence)

    def _index(self) -> Place:
        return index_folder(self.root, "CC_annotations", "annotations", ".", holds=V1_INDEX) / V1_INDEX


@dataclass
class CasualConversations2(_Annotated):
    """Every video that `annotations/CasualConversationsV2.json` lists, found by its name anywhere below `root`.

    Args:
        root: the data set's folder; docs/datasets.md shows it.
    """

    name = "ccv2"
    licence = "Casual Conversations v2 data user agreement (Meta)"

    def clips(self) -> Iterator[Clip]:
        self._log = IndexLog()
        seen: set[str] = set()
        files = _videos_by_name(self.root)
        for where, _, value in json_entries(self._index(), "[", self._log):
            self._log.n_named += 1
            try:
                name, person = parse_record(value)
                if name in seen:
                    raise ValueError(f"the video {name} again")
            except ValueError as error:
                self._log.skip(where, error)
                continue
            seen.add(name)
            path = files.get(name)
            if path is None:
                path = str(place(self.root) / name)
                self._log.lacks(path)
            yield Clip(self.name, name, f"ccv2:{person}", path, licence=self.licence)

    def _index(self) -> Place:
        return index_folder(self.root, "annotations", "CCv2_annotations", ".", holds=V2_INDEX) / V2_INDEX


def subject_of(text: Any) -> str:
    """A subject's number, padded to four digits as the folders and the files of both versions are."""
    if not isinstance(text, str) or not _SUBJECT.fullmatch(text):
        raise ValueError(f"{shown(text)} is no subject")
    return text.zfill(4)


def parse_record(value: Any) -> tuple[str, str]:
    """(video name, subject) of `{"video_name": "{subject}_{language}_{scripted|nonscripted}_{n}.mp4", "subject_id": ...}`.

    Raises:
        ValueError: what is wrong with the record.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"a record should be an object, not {shown(value)}")
    name = file_name(value.get("video_name"))
    shape = _V2_NAME.fullmatch(name)
    if not shape:
        raise ValueError(f"{shown(name)} is no video of a subject")
    person = subject_of(value.get("subject_id", shape[1]))
    if person != subject_of(shape[1]):
        raise ValueError(f"{shown(name)} is said to show subject {person}")
    return name, person


def _videos_by_name(root: str) -> dict[str, str]:
    """Place of every .mp4 below `root` by its name, the first in sorted order; the archives of single frames are passed over."""
    found: dict[str, str] = {}
    if is_url(root):
        top = place(root)
        for path in sorted(top.fs.find(top.path)):
            folder, _, name = path[len(top.path.rstrip("/")) :].rpartition("/")
            hidden = any(part.startswith(".") or "frames" in part for part in folder.split("/"))
            if name.lower().endswith(".mp4") and not hidden:
                found.setdefault(name, top.fs.unstrip_protocol(path))
        return found
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and "frames" not in name)
        for name in sorted(files):
            if name.lower().endswith(".mp4"):
                found.setdefault(name, str(place(folder) / name))
    return found
