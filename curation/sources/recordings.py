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
_SAME_FACE_IOU = 0.5  # of two crops of one recording; faces side by side overlap less

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
    table = _placed(df)
    overlaps = _overlaps(table, min_share)
    rows, ids, order = (table[name].tolist() for name in ("row", "clip_id", "order"))
    duplicate_of = np.full(len(df), None, object)
    copies: set[int] = set()
    for i in sorted(overlaps, key=order.__getitem__):
        originals = {j: shared for j, shared in overlaps[i].items() if j not in copies}
        if originals:
            copies.add(i)
            duplicate_of[rows[i]] = ids[max(originals, key=lambda j: (originals[j], -order[j]))]
    return pd.Series(duplicate_of, index=df.index, dtype="string", name="duplicate_of")


def _placed(df: pd.DataFrame) -> pd.DataFrame:
    """The clips of which video and times are known, by video and start.

    Columns: `row` in `df`, `video` (a number), `begin` and `end` in ms of the video, `order` (0 = the most preferred), `source`,
    `clip_id`, the face box in parts of the picture (NaN where it is not known).
    """
    key = df["source_key"].astype("object").str.extract(_KEY)
    is_cut = key["cut"].notna().to_numpy()
    offset = np.where(is_cut, _numbers(key, "from"), 0.0)
    begin = offset + _numbers(df, "start_ms")
    end = offset + _numbers(df, "end_ms")
    end = np.where(np.isnan(end), _numbers(key, "to"), end)
    end = np.where(np.isnan(end), begin + _numbers(df, "duration_ms"), end)
    size = np.stack([_numbers(df, "width_px"), _numbers(df, "height_px")] * 2, axis=1)
    boxes = np.stack([_numbers(df, name) for name in _BOX], axis=1) / size  # (rows, 4)
    boxes[is_cut] = np.nan  # boxes in cropped pictures cannot be compared
    table = pd.DataFrame(boxes, columns=_BOX).assign(row=np.arange(len(df)), begin=begin, end=end, length=end - begin)
    table = table.assign(**{name: df[name].astype("object").to_numpy() for name in ("source", "clip_id")}, video=pd.factorize(key["id"])[0])
    table["rank"] = table["source"].map({name: i for i, name in enumerate(PREFERENCE)}).fillna(len(PREFERENCE))
    used = (table["video"] >= 0) & (table["length"] > 0)
    if "status" in df:
        used &= df["status"].astype("object").to_numpy() != "failed"
    table = table[used].sort_values(["rank", "source", "length", "begin", "clip_id"], ascending=[True, True, False, True, True])
    table["order"] = np.arange(len(table))
    return table.sort_values(["video", "begin", "order"], ignore_index=True)


def _overlaps(table: pd.DataFrame, min_share: float) -> dict[int, dict[int, float]]:
    """Of each clip the preferred clips that it repeats, with the milliseconds that they share; clips are row numbers of `table`."""
    video, begin, end, order, source = (table[name].tolist() for name in ("video", "begin", "end", "order", "source"))
    boxes = table[_BOX].to_numpy()
    found: dict[int, dict[int, float]] = {}
    still_open: list[int] = []
    for i in range(len(table)):
        still_open = [j for j in still_open if video[j] == video[i] and end[j] > begin[i]]
        for j in still_open:
            shared = min(end[i], end[j]) - begin[i]
            if shared < min_share * min(end[i] - begin[i], end[j] - begin[j]):
                continue
            if source[i] != source[j] or _iou(boxes[i], boxes[j]) >= _SAME_FACE_IOU:
                copy, original = (i, j) if order[i] > order[j] else (j, i)
                found.setdefault(copy, {})[original] = shared
        still_open.append(i)
    return found


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (x0, y0, x1, y1); NaN, which is below every bound, if one is not known."""
    inner = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def _numbers(df: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64, NaN where it is null or missing."""
    return pd.to_numeric(df[name]).to_numpy(float, na_value=np.nan) if name in df else np.full(len(df), np.nan)
