"""Which recording a clip was cut from, across data sets: VoxCeleb, HDTF, MultiTalk and TalkingHead-1KH share YouTube videos.

The adapters write it into `source_key`, so that every manifest carries it::

    youtube:ID/REST               the file is the whole video: start_ms and end_ms are times of the video
    youtube:ID@5000-9920/REST     the file was cut from the video by others, from 5000 ms to 9920 ms
    youtube:ID@?/REST             the same, but the index does not say from where

REST is the clip's name in its data set.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from curation.contracts import Clip

_KEY = r"^youtube:(?P<id>[A-Za-z0-9_-]{11})(?P<cut>@(?:(?P<from>[0-9]+)-(?P<to>[0-9]+)|\?))?/"
_BOX = ["face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px"]
_SAME_FACE_IOU = 0.5

# Of two copies the one that shows the face larger and carries sound is worth more; other sources follow in alphabetical order.
PREFERENCE = ("hdtf", "multitalk", "talkinghead1kh", "voxceleb1", "voxceleb2")


def video_key(video: str, name: str) -> str:
    """`source_key` of a clip whose file is the whole YouTube video."""
    return f"youtube:{video}/{name}"


def cut_key(video: str, name: str, span_ms: tuple[int, int] | None) -> str:
    """`source_key` of a clip whose file was cut from `span_ms` of the YouTube video; None = the place is not known."""
    return f"youtube:{video}@{'?' if span_ms is None else f'{span_ms[0]}-{span_ms[1]}'}/{name}"


def youtube_id(clip: Clip) -> str | None:
    """The YouTube video that a clip was cut from; None where its source names none."""
    found = re.match(_KEY, clip.source_key)
    return found["id"] if found else None


def mark_duplicates(df: pd.DataFrame, min_share: float = 0.5) -> pd.Series:
    """For every clip of a manifest the `clip_id` of the clip that it repeats, or null.

    Two clips repeat each other if they come from one YouTube video, overlap in time by `min_share` of the shorter one, and either come
    from two data sets, or from one whose files are whole videos and show the same face box there (HDTF has one video under two names).
    The original is the clip of the earlier source in `PREFERENCE`, then the longer, the earlier, the smaller clip_id; the order of the
    rows does not matter. Failed clips, clips of unknown place and other sources' clips take no part.

    Args:
        df: has `clip_id`, `source`, `source_key`, `start_ms`, `end_ms`; used where there: `status`, `duration_ms`, the face box, the size.

    Returns:
        String series `duplicate_of` with the index of `df`.
    """
    duplicate_of = np.full(len(df), None, object)
    table = _placed(df)
    edges = np.flatnonzero(table["id"].to_numpy()[1:] != table["id"].to_numpy()[:-1]) + 1
    starts = [0, *edges.tolist()] if len(table) else []
    for first, last in zip(starts, [*starts[1:], len(table)], strict=True):
        if last - first > 1:
            for copy, original in _repeats(table.iloc[first:last], min_share):
                duplicate_of[copy] = original
    return pd.Series(duplicate_of, index=df.index, dtype="string", name="duplicate_of")


def _placed(df: pd.DataFrame) -> pd.DataFrame:
    """The clips of which video and times are known, in order of video and preference: row in `df`, times in ms of the video, face box."""
    key = df["source_key"].astype("object").str.extract(_KEY)
    begin = pd.to_numeric(key["from"]).to_numpy(float, na_value=np.nan)
    known_end = pd.to_numeric(key["to"]).to_numpy(float, na_value=np.nan)
    is_cut = key["cut"].notna().to_numpy()
    offset = np.where(is_cut, begin, 0.0)
    from_ms = offset + _numbers(df, "start_ms")
    to_ms = offset + _numbers(df, "end_ms")
    to_ms = np.where(np.isnan(to_ms), known_end, to_ms)
    to_ms = np.where(np.isnan(to_ms), from_ms + _numbers(df, "duration_ms"), to_ms)
    boxes = np.stack([_numbers(df, name) for name in _BOX], axis=1)  # (rows, 4)
    size = np.stack([_numbers(df, "width_px"), _numbers(df, "height_px")] * 2, axis=1)
    boxes = np.where(is_cut[:, None], np.nan, boxes / size)  # boxes in cropped pictures cannot be compared
    rank = df["source"].map({name: i for i, name in enumerate(PREFERENCE)}).fillna(len(PREFERENCE)).to_numpy()
    columns = {"id": key["id"], "row": np.arange(len(df)), "rank": rank, "length": from_ms - to_ms, "from": from_ms, "to": to_ms}
    table = pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})
    table["source"], table["clip_id"] = df["source"].to_numpy(), df["clip_id"].to_numpy()
    table[_BOX] = boxes
    used = key["id"].notna().to_numpy() & (to_ms > from_ms)
    if "status" in df:
        used &= (df["status"] != "failed").to_numpy(bool, na_value=True)
    return table[used].sort_values(["id", "rank", "source", "length", "from", "clip_id"], kind="stable", ignore_index=True)


def _repeats(group: pd.DataFrame, min_share: float) -> list[tuple[int, str]]:
    """(row in the manifest, clip_id of its original) of the clips of one video that repeat a preferred one."""
    begin, end = group["from"].to_numpy(), group["to"].to_numpy()
    source, boxes = group["source"].to_numpy(), group[_BOX].to_numpy()
    overlaps: dict[int, dict[int, float]] = {}  # of each clip: the preferred clips that it meets, and for how long
    open_clips: list[int] = []
    for i in np.argsort(begin, kind="stable"):
        open_clips = [j for j in open_clips if end[j] > begin[i]]
        for j in open_clips:
            shared = min(end[i], end[j]) - begin[i]
            enough = shared >= min_share * min(end[i] - begin[i], end[j] - begin[j])
            if enough and (source[i] != source[j] or _iou(boxes[i], boxes[j]) >= _SAME_FACE_IOU):
                overlaps.setdefault(max(i, j), {})[min(i, j)] = shared
        open_clips.append(i)
    original_of: dict[int, int] = {}
    for i in sorted(overlaps):
        kept = {j: shared for j, shared in overlaps[i].items() if j not in original_of}
        if kept:
            original_of[i] = max(kept, key=lambda j: (kept[j], -j))
    rows, ids = group["row"].to_numpy(), group["clip_id"].to_numpy()
    return [(int(rows[i]), ids[j]) for i, j in original_of.items()]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (x0, y0, x1, y1); NaN, which is below every bound, if one is not known."""
    inner = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def _numbers(df: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64, NaN where it is null or missing."""
    return df[name].to_numpy(float, na_value=np.nan) if name in df else np.full(len(df), np.nan)
