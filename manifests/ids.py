"""Stable names and draws: clip ids, the train/test split, shards. All are pinned by golden tests: changing one orphans every manifest."""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring_ascii
from typing import Literal

TEST_SHARE = 0.1  # of the identities, by the hash of their names


def _digest(*parts: str | int | None, size: int) -> bytes:
    """BLAKE2b of the parts as a JSON array in ASCII: no two lists of parts give the same text, file names that are not UTF-8 included."""
    # As json.dumps(parts) writes it, four times as fast: a run names every one of its clips at every start.
    texts = ("null" if part is None else encode_basestring_ascii(part) if isinstance(part, str) else str(part) for part in parts)
    return hashlib.blake2b(f"[{', '.join(texts)}]".encode("ascii"), digest_size=size).digest()


def clip_id(source: str, source_key: str, start_ms: int, end_ms: int | None) -> str:
    """20 hexadecimal digits that name a span of a recording, wherever its file lies.

    80 bits: among a thousand million clips the chance of one collision is below one in a million.

    Args:
        source: name of the source adapter.
        source_key: names the recording within the source, independent of where the files lie.
        start_ms, end_ms: the span; `end_ms = None` means to the end of the file, and differs from naming that end.
    """
    return _digest(source, source_key, int(start_ms), None if end_ms is None else int(end_ms), size=10).hex()


def split(identity: str) -> Literal["train", "test"]:
    """ "test" for one identity in ten, by a hash of its text alone: all clips of a person fall on one side, in every run."""
    draw = int.from_bytes(_digest("split", identity, size=8), "big") / 2**64
    return "test" if draw < TEST_SHARE else "train"


def shard_of(source_key: str, n_shards: int) -> int:
    """Shard in 0..n_shards-1: all spans of a recording share one, so that its file is opened once."""
    if n_shards < 1:
        raise ValueError(f"n_shards must be at least 1, not {n_shards}")
    return int.from_bytes(_digest("shard", source_key, size=8), "big") % n_shards
