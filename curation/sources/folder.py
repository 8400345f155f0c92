"""Source `folder`: every video below a directory, or the rows of a CSV index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from curation.contracts import Clip, IndexReport, Source
from curation.sources.files import printable_text, videos_below
from curation.sources.folder_index import FolderIndex
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, place

IDENTITY_RULES = ("file", "folder")


@dataclass
class Folder(Source):
    """Videos below `root`, or the clips of a CSV index.

    Args:
        root: a directory or any URL that fsspec lists (`s3://bucket/videos`), searched in full (symbolic links followed, loops noticed), or
            a `.csv` whose columns are among `folder_index.INDEX_COLUMNS` (only `path` is needed; paths are relative to the CSV's folder and
            must stay inside it).
        identity: who is seen, where the index does not say: `file` = every file is a person of its own, `folder` = the files of one
            directory show one person.
        licence: written to every row that names none.
    """

    name = "folder"

    root: str
    identity: str = "file"
    licence: str = ""
    _report: IndexReport = field(default_factory=IndexReport, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.identity not in IDENTITY_RULES:
            raise UserError(f"source_settings.identity is {self.identity!r}{did_you_mean(self.identity, IDENTITY_RULES)}")
        root = place(self.root)
        if not root.exists():
            raise UserError(f"ROOT {self.root} does not exist: give a directory of videos or a .csv index")
        if root.is_file() and root.suffix.lower() != ".csv":
            raise UserError(f"ROOT {self.root} is a file: give a directory of videos or a .csv index")

    def clips(self) -> Iterator[Clip]:
        root = place(self.root)
        yield from self._indexed(root) if root.is_file() else self._found(root)

    def report(self) -> IndexReport:
        return self._report

    def _found(self, root: Place) -> Iterator[Clip]:
        others: Counter[str] = Counter()
        videos = videos_below(root, others)
        self._report = IndexReport(len(videos), passed_over=tuple(others.most_common()))
        for key, path in videos:
            yield self._clip(key, path)

    def _clip(self, key: str, path: str, identity: str = "", licence: str = "", **known: Any) -> Clip:
        printable = printable_text(key)
        person = identity or (str(PurePosixPath(printable).parent) if self.identity == "folder" else printable)
        return Clip(self.name, printable, person, path, licence=licence or self.licence, time_zero="container", **known)

    def _indexed(self, file: Place) -> Iterator[Clip]:
        index, seen = FolderIndex(file), set()
        for span in index.spans():
            where = span.pop("where")
            clip = self._clip(**span)
            if clip.clip_id in seen:
                index.malformed.append(f"{where}: the same file and span again")
                continue
            seen.add(clip.clip_id)
            yield clip
        self._report = IndexReport(index.n_named, tuple(dict.fromkeys(index.missing)), tuple(index.malformed), notes=tuple(index.notes))
