"""The pair list: what every method is given and what its result is held against. One JSON object a line; the list is the protocol as data.

A pair names files beside the list (or absolute paths): a still reference, a driving clip and its sound, and the real clip where there is
one. A method answers with `<pair_id>.mp4`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from manifests import UserError
from manifests.atomic import atomic_path
from manifests.errors import did_you_mean
from manifests.json_text import parse_json

PAIRS_FILE = "pairs.jsonl"
SIGNALS = ("audio", "video", "video+audio")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One task for a method.

    Attributes:
        pair_id: names the answer's file; letters, digits, `.`, `_`, `-`.
        protocol: the protocol that made it.
        identity: who drives; equal text = same person. The unit of the statistics.
        reference_identity: who is to be animated; the same person in self-reenactment.
        reference: a picture, or a video of which frame 0 is meant.
        driver: the driving video; "" where the method is given sound only.
        audio: a file with the driving sound; "" where it is given pictures only.
        real: the clip that a perfect answer equals; "" in cross-reenactment.
        signal: what the driver gives the method: audio, video, or video+audio.
        parameters: settings that the protocol asks for, for example {"motion": 0.5}.
    """

    pair_id: str
    protocol: str
    identity: str
    reference_identity: str
    reference: str
    driver: str = ""
    audio: str = ""
    real: str = ""
    signal: str = "video+audio"
    parameters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.pair_id) or self.pair_id.endswith("."):
            raise UserError(
                f"pair_id {self.pair_id!r} is no file name: letters, digits, '.', '_' and '-', at most 121, a letter or digit first"
            )
        if self.signal not in SIGNALS:
            raise UserError(f"pair {self.pair_id}: signal is {self.signal!r}; it must be one of {', '.join(SIGNALS)}")
        if ("video" in self.signal and not self.driver) or ("audio" in self.signal and not self.audio):
            raise UserError(f"pair {self.pair_id}: signal {self.signal!r} needs " + ("a driver" if not self.driver else "an audio file"))
        if not self.reference or not self.identity:
            raise UserError(f"pair {self.pair_id}: reference and identity may not be empty")

    @classmethod
    def from_mapping(cls, values: Any) -> Self:
        if not isinstance(values, dict):
            raise UserError("it is not a JSON object")
        known = {one.name: one.type for one in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise UserError(f"unknown field {unknown[0]!r}{did_you_mean(str(unknown[0]), known)}")
        for name, value in values.items():
            if known[name] == "str" and not isinstance(value, str):
                raise UserError(f"{name} is {value!r}; it needs a text")
        parameters = values.get("parameters", {})
        if not isinstance(parameters, dict) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in parameters.values()):
            raise UserError(f"parameters is {parameters!r}; it needs names with numbers")
        if missing := [name for name in ("pair_id", "protocol", "identity", "reference_identity", "reference") if name not in values]:
            raise UserError(f"{missing[0]} is missing")
        return cls(**values)


@dataclass(frozen=True)
class PairList:
    """The pairs of one benchmark, in the order of the file.

    Attributes:
        root: directory that relative paths count from.
    """

    root: Path
    pairs: tuple[Pair, ...]

    @property
    def version(self) -> str:
        """Hash of the list's content: scores of two versions are not to be compared."""
        return hashlib.blake2b("\n".join(_line(pair) for pair in self.pairs).encode(), digest_size=6).hexdigest()

    def path(self, name: str) -> Path:
        """Where a file of a pair lies."""
        return self.root / name

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)


def read_pairs(path: str | Path) -> PairList:
    """A pair list: the JSONL file, or the directory that holds `pairs.jsonl`.

    Raises:
        UserError: nothing there, a line that is no pair (named by its number), a pair_id twice, no pair at all.
    """
    file = Path(path)
    file = file / PAIRS_FILE if file.is_dir() else file
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as a pair list: {getattr(error, 'strerror', None) or error}") from error
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            pair = Pair.from_mapping(parse_json(line))
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
        if pair.pair_id in pairs:
            raise UserError(f"{file}, line {number}: pair_id {pair.pair_id!r} stands there twice")
        pairs[pair.pair_id] = pair
    if not pairs:
        raise UserError(f"{file} names no pair")
    return PairList(file.parent, tuple(pairs.values()))


def write_pairs(pairs: Iterable[Pair], directory: str | Path) -> Path:
    """Writes `pairs.jsonl` into a directory, atomically."""
    file = Path(directory) / PAIRS_FILE
    with atomic_path(file) as temporary:
        temporary.write_text("".join(_line(pair) + "\n" for pair in pairs), encoding="utf-8")
    return file


def _line(pair: Pair) -> str:
    return json.dumps(asdict(pair), ensure_ascii=False)
