"""From what a user calls the real videos to pairs: a pair list, a curation run, or a plain folder of videos."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from inference.evaluation.export import WHERE, export_pairs
from inference.evaluation.methods import VIDEO_SUFFIXES
from inference.evaluation.pairs import PAIRS_FILE, Pair, PairList, read_pairs
from manifests import UserError

BENCH_DIR = "bench"
MANIFEST_FILE, LEDGER_DIR = "manifest.parquet", "ledger"


def find_pairs(
    real: str | Path,
    out: str | Path,
    *,
    protocol: str = "paper-like",
    where: str | None = None,
    identity: str | None = None,
    size_px: int = 512,
    longest_ms: int = 10_000,
    say: Callable[[str], None] = lambda line: None,
) -> PairList:
    """The pairs that `real` stands for.

    Args:
        real: a pair list (file or directory); a curation run's directory or manifest, of which a benchmark is cut into OUT/bench first; or
            a folder of videos, each of which is its own reference, driver and truth.
        protocol, where, size_px, longest_ms: of a benchmark that is cut; `where` None takes accepted clips of the test split.
        identity: of a folder: regular expression whose first group (or whole match) in a file's stem names the person. None: the stem
            without the digits at its end, as HDTF names its recordings.

    Raises:
        UserError: it is none of them, or holds nothing.
    """
    folder = Path(real)
    if folder.suffix != ".parquet" and (folder.is_file() or (folder / PAIRS_FILE).is_file()):
        return read_pairs(folder)
    if folder.suffix == ".parquet" or (folder / MANIFEST_FILE).is_file() or (folder / LEDGER_DIR).is_dir():
        bench = Path(out) / BENCH_DIR
        export_pairs(folder, protocol, bench, where=where or WHERE, size_px=size_px, longest_ms=longest_ms, say=say)
        return read_pairs(bench)
    return pairs_of_folder(folder, identity, say)


def pairs_of_folder(folder: Path, identity: str | None = None, say: Callable[[str], None] = lambda line: None) -> PairList:
    """The pairs that a plain folder of videos stands for; see `find_pairs`."""
    if not folder.is_dir():
        raise UserError(f"{folder} is neither a pair list, nor a curation run, nor a folder of real videos")
    videos = sorted(f for f in folder.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES and f.is_file() and not f.name.startswith("."))
    if not videos:
        raise UserError(
            f"{folder} holds neither {PAIRS_FILE}, nor {MANIFEST_FILE}, nor videos;"
            " `python -m inference.evaluation pairs` makes a pair list from a manifest"
        )
    if twice := sorted({video.stem for video in videos if sum(other.stem == video.stem for other in videos) > 1}):
        raise UserError(f"{folder} holds two videos called {twice[0]!r}; their stems are the pair ids")
    pairs = []
    for video in videos:
        who, name = _identity(video.stem, identity), video.name
        pairs.append(
            Pair(
                pair_id=video.stem,
                protocol="paper-like",
                identity=who,
                reference_identity=who,
                reference=name,
                driver=name,
                audio=name,
                real=name,
            )
        )
    people = len({pair.identity for pair in pairs})
    rule = "digits at the end left out" if identity is None else f"by {identity!r}"
    say(f"{len(pairs)} videos of {people} identities by their names ({rule}); --identity takes another rule")
    return PairList(folder, tuple(pairs))


def _identity(stem: str, pattern: str | None) -> str:
    if pattern is None:
        return re.sub(r"[\d_-]+$", "", stem) or stem
    try:
        found = re.search(pattern, stem)
    except re.error as error:
        raise UserError(f"--identity {pattern!r} is no regular expression: {error}") from None
    who = "" if found is None else next((group for group in found.groups() if group), found.group())
    if not who:
        raise UserError(f"--identity {pattern!r} finds nobody in {stem!r}")
    return who
