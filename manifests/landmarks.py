"""The side table of landmarks: one row a sampled frame, 68 points as float16 offsets from the middle of the face.

float16 holds 11 binary digits. Absolute coordinates on a 4K frame would be off by up to 1 px. Offsets from the face's own middle, snapped
to a grid that they can hold exactly, are off by at most 1/64 px for faces up to 128 px, 1/16 px up to 512 px, 1/8 px up to 1024 px and
1/4 px up to 2048 px. The grid makes rounding repeatable: rounded points round to themselves, so that scores from the table equal scores
from the video.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.atomic import atomic_path
from manifests.errors import NoLandmarksError, UserError
from manifests.places import filesystem_of, one_line, open_parquet, parquet_files
from manifests.rows import Rows
from manifests.schema import Column

LANDMARKS_DIR = "landmarks"
N_POINTS = 68
MAX_COORDINATE_PX = 2.0**17  # farther out is no face; keeps middle + offset exact in float32
_GRIDS_PX = tuple(2.0**exponent for exponent in range(-5, 5))  # finest first
_EXACT_STEPS = 2048  # float16 holds every multiple of a power of two up to this many steps exactly

_FRAMES_AT_ONCE = 3000  # bounds the memory for hours of footage
_GROUP_FRAMES = 8192  # of a row group, likewise: a clip of more than 5 minutes has several
_FLAT = N_POINTS * 3
LANDMARK_COLUMNS: tuple[Column, ...] = (
    Column(
        "clip_id",
        pa.string(),
        "",
        "the clip, as in the manifest; a row group holds one clip, a long clip has several, one after the other",
        1,
    ),
    Column("frame_index", pa.int32(), "", "number of the sampled frame within the clip, from 0", 1),
    Column("time_ms", pa.float64(), "ms", "time of the frame from the start of the clip", 1),
    Column("n_faces", pa.int16(), "", "faces seen on the frame", 1),
    Column("centre_x_px", pa.float32(), "px", "middle of the main face, at source scale; null where it is not seen", 1),
    Column("centre_y_px", pa.float32(), "px", "middle of the main face, at source scale; null where it is not seen", 1),
    Column(
        "points",
        pa.list_(pa.float16(), _FLAT),
        "",
        "68 x (x - centre_x px, y - centre_y px, confidence 0..1), iBUG order; zeros where not seen",
        1,
    ),
)
_SCHEMA = pa.schema([column.field() for column in LANDMARK_COLUMNS])


class ClipLandmarks(NamedTuple):
    """The landmarks of one clip on T sampled frames.

    Attributes:
        times_ms: (T,) float64, from the start of the clip.
        n_faces: (T,) int16.
        points_px: (T, 68, 2) float32, iBUG order, at source scale; NaN where the main face is not seen.
        confidence: (T, 68) float32 in 0..1; 0 where the main face is not seen.
    """

    times_ms: np.ndarray
    n_faces: np.ndarray
    points_px: np.ndarray
    confidence: np.ndarray


def quantise(points_px: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 68, 2) and confidence (T, 68) as float32, exactly as `load_landmarks` will give them back. Idempotent.

    A frame with a coordinate that is not finite, or beyond 131,072 px, counts as not seen: NaN points, confidence 0.
    """
    snapped = np.empty((len(points_px), N_POINTS, 2), np.float32)
    trusted = _confidence(confidence, len(points_px)).astype(np.float32)
    for first in range(0, len(snapped), _FRAMES_AT_ONCE):
        block = slice(first, first + _FRAMES_AT_ONCE)
        snapped[block], _, seen = _snap(points_px[block])
        trusted[block][~seen] = 0
    return snapped, trusted


def _snap(points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Snapped points (T, 68, 2) float64, middles (T, 2) float64 (whole pixels), seen (T,) bool; NaN where not seen.

    The grid is the finest on which every offset from the middle is exact in float16. On a second pass the points lie on that grid
    already, and every finer grid that would do holds them too: nothing moves.
    """
    points = np.asarray(points_px, np.float64)
    if points.shape[1:] != (N_POINTS, 2):
        raise ValueError(f"points_px must have the shape (T, {N_POINTS}, 2), not {points.shape}")
    with np.errstate(invalid="ignore"):
        pending: np.ndarray = np.all(np.abs(points) <= MAX_COORDINATE_PX, axis=(1, 2))
    snapped, centre = np.full(points.shape, np.nan), np.full((len(points), 2), np.nan)
    seen: np.ndarray = np.zeros(len(points), bool)
    for grid_px in _GRIDS_PX:
        rows = np.flatnonzero(pending)
        if not rows.size:
            break
        candidate = np.round(points[rows] / grid_px) * grid_px
        middle = np.floor((candidate.min(axis=1) + candidate.max(axis=1)) / 2)
        fits: np.ndarray = np.all(np.abs(candidate - middle[:, None]) <= _EXACT_STEPS * grid_px, axis=(1, 2))
        done = rows[fits]
        snapped[done], centre[done], seen[done], pending[done] = candidate[fits], middle[fits], True, False
    return snapped, centre, seen


def _confidence(confidence: np.ndarray, n_frames: int) -> np.ndarray:
    """(T, 68) float16 in 0..1; NaN counts as 0."""
    confidence = np.asarray(confidence, np.float32)
    if confidence.shape != (n_frames, N_POINTS):
        raise ValueError(f"confidence must have the shape ({n_frames}, {N_POINTS}), not {confidence.shape}")
    return np.clip(np.nan_to_num(confidence, nan=0.0), 0, 1).astype(np.float16)


def write_landmarks(path: str | os.PathLike, clips: Mapping[str, tuple[np.ndarray, np.ndarray, Rows, Rows]]) -> None:
    """Write a side table, atomically, a stretch at a time; the same clips give the same bytes.

    Args:
        path: a file, or any URL that fsspec can write to; a run keeps one a shard, `<run>/landmarks/<shard>.parquet`.
        clips: clip_id -> (times_ms (T,), n_faces (T,), points_px (T, 68, 2), confidence (T, 68)). Rounded as by `quantise`.

    Raises:
        UserError: the path cannot be written.
        ValueError: shapes that do not agree.
    """
    options = {
        "compression": "zstd",
        "compression_level": 1,
        "write_statistics": ["clip_id"],
        "use_dictionary": ["clip_id"],
        "column_encoding": {"points.list.element": "BYTE_STREAM_SPLIT"},  # a third smaller than plain
    }
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, _SCHEMA, **options) as writer:
        for clip_id in sorted(clips):
            for table in _clip_tables(clip_id, *clips[clip_id]):
                writer.write_table(table, row_group_size=len(table))


def _clip_tables(clip_id: str, times_ms: np.ndarray, n_faces: np.ndarray, points_px: Rows, confidence: Rows) -> Iterator[pa.Table]:
    """The rows of a clip, a row group each."""
    n_frames = len(points_px)
    if np.shape(times_ms) != (n_frames,) or np.shape(n_faces) != (n_frames,):
        raise ValueError(f"clip {clip_id}: {n_frames} frames of points, but times {np.shape(times_ms)} and n_faces {np.shape(n_faces)}")
    if confidence.shape != (n_frames, N_POINTS):
        raise ValueError(f"confidence must have the shape ({n_frames}, {N_POINTS}), not {confidence.shape}")
    for first in range(0, n_frames, _GROUP_FRAMES):
        block = slice(first, min(n_frames, first + _GROUP_FRAMES))
        packed, centre, seen = _packed(points_px[block], confidence[block])
        columns = [
            pa.repeat(clip_id, len(packed)),
            np.arange(block.start, block.stop, dtype=np.int32),
            np.asarray(times_ms[block], np.float64),
            np.clip(n_faces[block], 0, np.iinfo(np.int16).max).astype(np.int16),
            pa.array(centre[:, 0].astype(np.float32), mask=~seen),
            pa.array(centre[:, 1].astype(np.float32), mask=~seen),
            pa.FixedSizeListArray.from_arrays(pa.array(packed.reshape(-1)), _FLAT),
        ]
        yield pa.table(columns, schema=_SCHEMA)


def _packed(points_px: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T, 68, 3) float16 as the table has them, middles (T, 2) float64, seen (T,) bool."""
    n_frames = len(points_px)
    packed = np.zeros((n_frames, N_POINTS, 3), np.float16)
    trusted = _confidence(confidence, n_frames)
    centre, seen = np.empty((n_frames, 2)), np.empty(n_frames, bool)
    for first in range(0, n_frames, _FRAMES_AT_ONCE):
        block = slice(first, first + _FRAMES_AT_ONCE)
        snapped, centre[block], here = _snap(points_px[block])
        seen[block] = here
        packed[block][here, :, :2] = (snapped - centre[block][:, None])[here]
        packed[block][here, :, 2] = trusted[block][here]
    return packed, centre, seen


def load_landmarks(path: str | os.PathLike, clip_id: str) -> ClipLandmarks:
    """The landmarks of one clip; reads the footers and that clip's row groups alone.

    Args:
        path: a run's directory, or one file of its `landmarks/` (quicker, where the shard is known); local or any fsspec URL.
        clip_id: the clip.

    Raises:
        NoLandmarksError: no such clip there, or its rows are damaged.
        UserError: no side table.
    """
    return _joined(landmark_stretches(path, clip_id))


def landmark_stretches(path: str | os.PathLike, clip_id: str) -> Iterator[ClipLandmarks]:
    """`load_landmarks`, a stretch of the clip after the other: one is in memory at a time."""
    for parquet, file in _side_tables(path):
        with parquet:
            for found, groups in _clip_groups(parquet):
                if found == clip_id:
                    yield from (_read_group(parquet, group, file) for group in groups)
                    return
    raise NoLandmarksError(f"no landmarks of clip {clip_id} in {path}: it failed, or belongs to another run")


def iter_landmarks(path: str | os.PathLike) -> Iterator[tuple[str, ClipLandmarks]]:
    """Every (clip_id, landmarks) of a run or of one side table, one clip in memory at a time."""
    for parquet, file in _side_tables(path):
        with parquet:
            for clip_id, groups in _clip_groups(parquet):
                yield clip_id, _joined(_read_group(parquet, group, file) for group in groups)


class LandmarkIndex:
    """Where each clip's landmarks lie, so that many clips can be read in any order. Reads the footers once; may be pickled.

    Args:
        path: a run's directory, or one file of its `landmarks/`; local or any fsspec URL.

    Raises:
        UserError: no side table there.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._places: dict[str, tuple[str, range]] = {}
        for parquet, file in _side_tables(path):
            with parquet:
                self._places |= {clip_id: (file, groups) for clip_id, groups in _clip_groups(parquet)}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def load(self, clip_id: str) -> ClipLandmarks:
        """Reads one clip's row groups.

        Raises:
            NoLandmarksError: no landmarks of that clip, or a file that is damaged or gone.
            UserError: the file is another one than at the start.
        """
        if clip_id not in self._places:
            raise NoLandmarksError(f"no landmarks of clip {clip_id} in {self._path}: it failed, or belongs to another run")
        file, groups = self._places[clip_id]
        try:
            opened = open_parquet(filesystem_of(self._path)[0], file)
        except UserError as error:
            raise NoLandmarksError(str(error)) from error
        with opened as parquet:
            if groups.stop > parquet.num_row_groups or any(_group_clip(parquet, group) != clip_id for group in groups):
                raise UserError(f"{file} was written anew: its clips have moved; start again")
            return _joined(_read_group(parquet, group, file) for group in groups)


def _side_tables(path: str | os.PathLike) -> Iterator[tuple[pq.ParquetFile, str]]:
    filesystem, root = filesystem_of(path)
    files = [root] if root.endswith(".parquet") else parquet_files(filesystem, f"{root.rstrip('/')}/{LANDMARKS_DIR}")
    if not files:
        raise UserError(f"no landmarks in {path}: it has no {LANDMARKS_DIR}/*.parquet")
    for file in files:
        parquet = open_parquet(filesystem, file)
        if not parquet.schema_arrow.equals(_SCHEMA):
            parquet.close()
            raise UserError(f"{file} is no table of landmarks of this version")
        yield parquet, file


def _clip_groups(parquet: pq.ParquetFile) -> Iterator[tuple[str, range]]:
    """(clip_id, its row groups) of a side table, in order."""
    for clip_id, groups in groupby(range(parquet.num_row_groups), lambda group: _group_clip(parquet, group)):
        first, *more = groups
        yield clip_id, range(first, first + 1 + len(more))


def _group_clip(parquet: pq.ParquetFile, group: int) -> str:
    """A row group holds one clip, so the statistics name it."""
    statistics = parquet.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        raise UserError("a table of landmarks does not name its clips: it was written by something else")
    return statistics.min


def _read_group(parquet: pq.ParquetFile, group: int, file: str) -> ClipLandmarks:
    try:
        table = parquet.read_row_group(group, use_threads=False).combine_chunks()
        centre = np.stack([table[name].to_numpy() for name in ("centre_x_px", "centre_y_px")], axis=-1)  # (T, 2), NaN where not seen
        packed = table["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(table), N_POINTS, 3)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NoLandmarksError(f"{file} is damaged: {one_line(error)}") from error
    packed = packed.astype(np.float32)
    points_px = packed[..., :2] + centre[:, None]
    confidence = packed[..., 2].copy()
    return ClipLandmarks(table["time_ms"].to_numpy().copy(), table["n_faces"].to_numpy().copy(), points_px, confidence)


def _joined(stretches: Iterator[ClipLandmarks]) -> ClipLandmarks:
    parts = list(stretches)
    return parts[0] if len(parts) == 1 else ClipLandmarks(*map(np.concatenate, zip(*parts, strict=True)))
