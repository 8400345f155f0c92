"""Protocols: which clips of a manifest's test split become which pairs.

| protocol | reference | driver gives | real clip |
|---|---|---|---|
| paper-like | first frame of the clip | pictures and sound of the clip | the clip |
| strict | a frame at least 2 s before the clip's judged part | pictures and sound of the judged part | the judged part |
| cross | first frame of another person's clip | pictures and sound | none |
| audio-only | first frame of the clip | sound | the clip |
| amplitude-sweep | first frame of the clip | pictures and sound, at several motion and audio amplitudes | the clip, at amplitude 1 only |

The paper does not say how many clips it takes, how long, or which frame; `paper-like` is the reading that its Table 2 allows. Every
choice is a function of (seed, clip), so that adding clips leaves those that were there alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from manifests import UserError
from manifests.errors import did_you_mean

STRICT_GAP_MS = 2_000
SHORTEST_MS = 1_000  # a clip shorter than this holds no 16-frame window beside its reference
MOTION_SWEEP = (0.0, 0.5, 1.0, 1.5)
AUDIO_SWEEP = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class PlannedPair:
    """A pair before its files are cut.

    Attributes:
        name: becomes the pair_id.
        row: the manifest's row of the driving clip.
        reference_row: of the clip that the reference is taken from.
        reference_ms: time of the reference within its clip's span.
        start_ms, length_ms: the judged part within the driving clip's span.
        files: names the pair's files where several pairs share them; "" is `name`.
    """

    name: str
    row: pd.Series
    reference_row: pd.Series
    reference_ms: int
    start_ms: int
    length_ms: int
    signal: str = "video+audio"
    has_real: bool = True
    parameters: dict[str, float] = field(default_factory=dict)
    files: str = ""


def plan_pairs(
    df: pd.DataFrame, protocol: str, *, seed: int = 0, clips_per_identity: int = 3, longest_ms: int = 10_000
) -> tuple[list[PlannedPair], list[str]]:
    """The pairs of a protocol, and one line for every clip that the protocol cannot use.

    Args:
        df: rows of a manifest that may be used, normally `accepted and split == 'test'`.
        clips_per_identity: more clips of one person add little (docs/evaluation.md); which ones, a hash decides.
        longest_ms: only the first so many ms of a clip are judged.

    Raises:
        UserError: unknown protocol, or no clip that it can use.
    """
    if protocol not in _PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}{did_you_mean(protocol, _PROTOCOLS)}")
    left_out: list[str] = []
    chosen = _chosen(df, seed, clips_per_identity)
    planned = [pair for row in chosen for pair in _PROTOCOLS[protocol](row, chosen, seed, longest_ms, left_out)]
    if not planned:
        why = f"; e.g. {left_out[0]}" if left_out else ""
        raise UserError(f"no clip of {len(df)} fits protocol {protocol!r}{why}")
    return planned, left_out


def _chosen(df: pd.DataFrame, seed: int, clips_per_identity: int) -> list[pd.Series]:
    """The first clips of every identity in the order of a hash, sorted by identity."""
    ranked = df.assign(_rank=[_draw(seed, "clip", clip_id) for clip_id in df["clip_id"]]).sort_values(["identity", "_rank"])
    kept = ranked.groupby("identity", sort=True).head(clips_per_identity).drop(columns="_rank")
    return [row for _, row in kept.iterrows()]


def _self(row: pd.Series, longest_ms: int, left_out: list[str], gap_ms: int = 0, **options: Any) -> Iterator[PlannedPair]:
    length_ms = min(int(row["duration_ms"]) - gap_ms, longest_ms)
    if length_ms < SHORTEST_MS:
        left_out.append(f"{row['clip_id']} ({row['source_key']}): {row['duration_ms'] / 1000:.1f} s is too short")
        return
    options.setdefault("name", row["clip_id"])
    if options.get("signal", "video+audio") != "video" and not row["has_audio"]:
        left_out.append(f"{row['clip_id']} ({row['source_key']}): no sound")
        return
    yield PlannedPair(row=row, reference_row=row, reference_ms=0, start_ms=gap_ms, length_ms=length_ms, **options)


def _paper_like(row: pd.Series, chosen: list[pd.Series], seed: int, longest_ms: int, left_out: list[str]) -> Iterator[PlannedPair]:
    yield from _self(row, longest_ms, left_out)


def _strict(row: pd.Series, chosen: list[pd.Series], seed: int, longest_ms: int, left_out: list[str]) -> Iterator[PlannedPair]:
    yield from _self(row, longest_ms, left_out, gap_ms=STRICT_GAP_MS)


def _audio_only(row: pd.Series, chosen: list[pd.Series], seed: int, longest_ms: int, left_out: list[str]) -> Iterator[PlannedPair]:
    yield from _self(row, longest_ms, left_out, signal="audio")


def _cross(row: pd.Series, chosen: list[pd.Series], seed: int, longest_ms: int, left_out: list[str]) -> Iterator[PlannedPair]:
    others = sorted(
        (other for other in chosen if other["identity"] != row["identity"]), key=lambda o: _draw(seed, row["clip_id"], o["clip_id"])
    )
    if not others:
        left_out.append(f"{row['clip_id']} ({row['source_key']}): nobody else to take the reference from")
        return
    for pair in _self(row, longest_ms, left_out, has_real=False):
        yield PlannedPair(**{**vars(pair), "reference_row": others[0], "name": f"{row['clip_id']}-as-{others[0]['clip_id']}"})


def _amplitude_sweep(row: pd.Series, chosen: list[pd.Series], seed: int, longest_ms: int, left_out: list[str]) -> Iterator[PlannedPair]:
    settings = [{"motion": value} for value in MOTION_SWEEP] + [{"audio_scale": value} for value in AUDIO_SWEEP if value != 1.0]
    for parameters in settings:
        (name, value), *_ = parameters.items()
        label = f"{row['clip_id']}-{name.replace('_', '-')}-{value:g}"
        yield from _self(row, longest_ms, left_out, name=label, files=row["clip_id"], parameters=parameters, has_real=value == 1.0)
        if left_out and left_out[-1].startswith(row["clip_id"]):
            return


_PROTOCOLS = {
    "paper-like": _paper_like,
    "strict": _strict,
    "cross": _cross,
    "audio-only": _audio_only,
    "amplitude-sweep": _amplitude_sweep,
}
PROTOCOLS = tuple(_PROTOCOLS)


def _draw(seed: int, *parts: str) -> bytes:
    return hashlib.blake2b("\0".join([str(seed), *parts]).encode("utf-8", "surrogatepass"), digest_size=8).digest()
