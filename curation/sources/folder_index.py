"""A CSV index of one's own videos: which columns it has, and each line as a span of a file, or as what is wrong with it."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curation.sources.column_names import BOX_COLUMNS, INDEX_COLUMNS, counts_from_one, meant
from curation.sources.files import Directories
from curation.sources.index_files import MAX_MS, Box, box, real, shown
from manifests.errors import UserError
from manifests.places import Place, is_url

MIN_BOX_PX = 2.0  # a smaller box was written in shares of the picture
MAX_CELL_BYTES = 1 << 20
_EXCEL_MARK = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # spreadsheets name their delimiter in a line before the header
_NUMBERS = frozenset({"start_ms", "end_ms", *BOX_COLUMNS})
_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+,([0-9]{1,2}|[0-9]{4,})\s*")  # three digits may be thousands
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


@dataclass
class FolderIndex:
    """The lines of a CSV whose columns are among `INDEX_COLUMNS`; paths are relative to its folder and must stay inside it.

    Cells are separated by commas, semicolons or tabs. What was left out stands in `missing`, `malformed` and `notes` after `spans`.
    """

    file: Place
    n_named: int = 0
    missing: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = self.file.parent if is_url(self.file) else self.file.parent.resolve()
        self._base = f"{str(folder).rstrip('/')}/"
        self._on_disk = Directories()

    def spans(self) -> Iterator[dict[str, Any]]:
        """Each good line as `key`, `path` and what `contracts.Clip` takes besides.

        Raises:
            UserError: no column `path`, or a column that is a known one misspelt.
        """
        csv.field_size_limit(MAX_CELL_BYTES)
        with self.file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
            n_before, header = 0, lines.readline()
            while header and (not header.strip() or _EXCEL_MARK.fullmatch(header.strip())):
                n_before, header = n_before + 1, lines.readline()
            if "\0" in header:
                raise UserError(f"{self.file} is no text in UTF-8 (UTF-16, or a spreadsheet's own file): save it as CSV, UTF-8")
            delimiter = max(",;\t", key=header.count)
            is_continental = delimiter == ";"  # and then numbers may have a decimal comma
            titles = next(csv.reader([header], delimiter=delimiter), [])
            n_titled = max((i for i, title in enumerate(titles, 1) if title.strip()), default=0)  # blanks at the end may be left out
            names = self._columns(titles)
            reader = csv.reader(lines, delimiter=delimiter)
            while True:
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    self.malformed.append(f"{self.file.name}:{reader.line_num + n_before + 1}: {error}")
                    continue
                if cells is None:
                    return
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                self.n_named += 1
                where = f"{self.file.name}:{reader.line_num + n_before + 1}"
                while len(cells) > len(names) and not cells[-1].strip():
                    cells.pop()
                try:
                    if len(cells) < n_titled and "\n" in cells[-1]:
                        raise ValueError(f"{shown(cells[-1])} goes on over lines: a quote before it is not closed")
                    if not n_titled <= len(cells) <= len(names):
                        told = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
                        raise ValueError(f"{told}, but the header names {n_titled} {'column' if n_titled == 1 else 'columns'}")
                    row = {name: cell for name, cell in zip(names, cells, strict=False) if name}
                    if is_continental:
                        row |= {name: decimal_point(row[name]) for name in _NUMBERS & row.keys()}
                    span = self._span(row)
                except ValueError as error:
                    self.malformed.append(f"{where}: {error}")
                    continue
                yield {**span, "where": where}

    def _columns(self, header: list[str]) -> list[str]:
        """The header's names, empty for those that are not read."""
        written = [name.strip() for name in header]
        names = [name.lower() for name in written]
        names = [name if name in INDEX_COLUMNS else "" for name in names]
        for name in INDEX_COLUMNS:
            if names.count(name) > 1:
                raise UserError(f"{self.file} has the column {name!r} twice: rename one")
        others = [name for name, known in zip(written, names, strict=True) if name and not known]
        from_one = counts_from_one(others)
        wrong = {name: right for name in others if (right := meant(name, from_one)) and right not in names}
        meant_path = next((name for name, right in wrong.items() if right == "path"), None)
        if "path" not in names:
            hint = f"; rename {meant_path!r}" if meant_path else ""
            raise UserError(f"{self.file} has no column 'path'{hint}; columns a folder index may have: {', '.join(INDEX_COLUMNS)}")
        if wrong:
            told = ", ".join(f"{name!r} (did you mean {right!r}?)" for name, right in wrong.items())
            raise UserError(f"{self.file} has columns that a folder index does not know: {told}; rename or remove them")
        if others:
            self.notes.append(f"{self.file.name}: columns that are not read: {', '.join(others)}")
        return names

    def _span(self, row: dict[str, str]) -> dict[str, Any]:
        # Text functions instead of pathlib: an index of 100,000 rows is read at every start.
        for name, cell in row.items():
            if "\ufffd" in cell:
                raise ValueError(f"{name} is {shown(cell)}, no text in UTF-8: save the index as CSV, UTF-8")
        path = self._path(row["path"])
        text = {name: stripped for name, value in row.items() if name != "path" and (stripped := value.strip())}
        start_ms = whole_number("start_ms", text["start_ms"]) if "start_ms" in text else 0
        end_ms = whole_number("end_ms", text["end_ms"]) if "end_ms" in text else None
        if not 0 <= start_ms < (MAX_MS if end_ms is None else min(end_ms, MAX_MS + 1)) or (end_ms or 0) > MAX_MS:
            raise ValueError(f"the span {start_ms}..{'' if end_ms is None else end_ms} ms is empty, negative or too long")
        return {
            "key": text.get("source_key") or path[len(self._base) :],
            "path": path,
            "start_ms": start_ms,
            "end_ms": end_ms,
            "face_box_px": _face_box(text),
            "identity": text.get("identity", ""),
            "licence": text.get("licence", ""),
        }

    def _path(self, cell: str) -> str:
        """Where the file lies; blanks around the name are dropped where no file is called so."""
        if not cell.strip():
            raise ValueError("no path")
        path = self._inside(cell)
        if path not in self._on_disk:
            if cell != cell.strip():
                path = self._inside(cell.strip())
            if path not in self._on_disk:
                if "\n" in cell:
                    raise ValueError(f"the path {shown(cell)} goes on over lines: a quote before it is not closed")
                self.missing.append(path)
        return path

    def _inside(self, relative: str) -> str:
        store, mark, rest = self._base.rpartition("://")
        path = f"{store}{mark}{os.path.normpath(rest + relative)}"
        if relative.startswith("/") or not path.startswith(self._base):
            raise ValueError(f"the path {shown(relative)} leaves the index's folder")
        return path


def whole_number(name: str, text: str) -> int:
    """An integer, also as tables with gaps write it: `2000`, `2000.0`, `2e3`."""
    number = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(number) or not number.is_integer() or abs(number) >= 1e15:
        raise ValueError(f"{name} is {shown(text)}, no whole number")
    return int(number)


def decimal_point(text: str) -> str:
    """A number with a decimal comma, such as `2000,0`, with a point."""
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def _face_box(text: dict[str, str]) -> Box | None:
    """The box of a line; None where all four corners are empty."""
    corners = [name for name in BOX_COLUMNS if name in text]
    if not corners:
        return None
    if len(corners) < len(BOX_COLUMNS):
        raise ValueError(f"the face box lacks {', '.join(name for name in BOX_COLUMNS if name not in text)}")
    x0, y0, x1, y1 = (real(text[name]) for name in BOX_COLUMNS)
    found = box(x0, y0, x1, y1)
    if min(x1 - x0, y1 - y0) < MIN_BOX_PX:
        raise ValueError(f"the face box {x0:g}, {y0:g}, {x1:g}, {y1:g} is smaller than {MIN_BOX_PX:g} px: pixels are wanted, not shares")
    if max(x0, x1) <= 0 or max(y0, y1) <= 0:
        raise ValueError(f"the face box {x0:g}, {y0:g}, {x1:g}, {y1:g} lies beside every picture")
    return found
