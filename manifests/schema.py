"""The columns of a manifest: name, Arrow type, unit, meaning. One row is one clip, from the moment that it is indexed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from manifests.errors import UserError, did_you_mean

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: lower case, with the unit as its last part where there is one (`_px`, `_deg`, `_ms`, `_hz`).
        type: Arrow type.
        unit: `px`, `deg`, `ms`, `Hz`, `frames`, `0..1` for shares (`validate` holds them to it), or empty.
        meaning: one sentence for a person.
        since: schema version that brought the column in.
    """

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    since: int = SCHEMA_VERSION

    def field(self) -> pa.Field:
        """Arrow field that carries unit, meaning and since-version as Parquet field metadata."""
        return pa.field(self.name, self.type, metadata={"unit": self.unit, "meaning": self.meaning, "since": str(self.since)})


_TEXT, _BOOL, _INT, _LONG, _REAL, _DOUBLE = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64()
_TEXTS = pa.list_(pa.string())


def _angle(name: str, axis: str) -> tuple[Column, Column]:
    return (
        Column(f"{name}_deg_mean_abs", _REAL, "deg", f"mean over the frames with a face of the absolute {axis}", 1),
        Column(f"{name}_deg_p95", _REAL, "deg", f"95th percentile over the frames with a face of the absolute {axis}", 1),
    )


COLUMNS: tuple[Column, ...] = (
    # what the clip is
    Column("clip_id", _TEXT, "", "hash of source, source_key, start_ms and end_ms; independent of where the file lies", 1),
    Column("source", _TEXT, "", "name of the source adapter: folder, hdtf, ...", 1),
    Column("source_key", _TEXT, "", "names the recording within the source: a relative path, a video id", 1),
    Column("identity", _TEXT, "", "who is seen; equal text = same person", 1),
    Column("licence", _TEXT, "", "licence of the source", 1),
    Column("video_path", _TEXT, "", "where the file lay when the clip was scored", 1),
    Column(
        "file_stamp",
        _TEXT,
        "",
        "size and modification time of the file when it was scored, in an object store size and ETag; another one is another file",
        3,
    ),
    Column("start_ms", _LONG, "ms", "start of the clip within the file", 1),
    Column("end_ms", _LONG, "ms", "end of the clip within the file; null = to the end of the file", 1),
    Column(
        "video_start_ms",
        _DOUBLE,
        "ms",
        "when the first frame is shown on the clock of start_ms and end_ms; 0 where they count from it; null = 0, of old rows",
        3,
    ),
    Column("split", _TEXT, "", "train or test (9:1), by a hash of identity", 1),
    # what the container holds
    Column("width_px", _INT, "px", "width of the picture after rotation", 1),
    Column("height_px", _INT, "px", "height of the picture after rotation", 1),
    Column("rotation_deg", _INT, "deg", "rotation that the file's metadata asks for: 0, 90, 180 or 270", 1),
    Column(
        "fps", _DOUBLE, "Hz", "frame rate of the file by its frames' time stamps, the lowest that keeps them all within half a frame", 1
    ),
    Column("n_frames", _LONG, "frames", "frames sampled from the clip, at landmark_hz", 1),
    Column("duration_ms", _DOUBLE, "ms", "length of the clip", 1),
    Column("video_codec", _TEXT, "", "codec of the video stream: h264, hevc, vp9, av1, ...", 1),
    Column("has_audio", _BOOL, "", "the file has an audio stream", 1),
    Column("audio_rate_hz", _INT, "Hz", "sample rate of the audio stream", 1),
    # how scoring went
    Column("status", _TEXT, "", "scored or failed", 1),
    Column("error_kind", _TEXT, "", "why the clip failed, one of manifests.ERROR_KINDS; null where scored", 1),
    Column("error_message", _TEXT, "", "one line on what is wrong; null where scored", 1),
    Column("attempts", _INT, "", "times that scoring was tried, over all runs", 1),
    # the face
    Column("landmark_hz", _REAL, "Hz", "rate at which frames were sampled for landmarks", 1),
    Column("n_faces_max", _INT, "", "most faces seen at once, other than for a moment", 1),
    Column(
        "valid_frame_ratio",
        _REAL,
        "0..1",
        "share of the sampled frames with exactly one face (with the one that the index names) and landmarks to be trusted",
        1,
    ),
    Column("face_x0_px", _REAL, "px", "left edge of the main face's landmark box, median over the frames, at source scale", 1),
    Column("face_y0_px", _REAL, "px", "upper edge of the main face's landmark box, median over the frames, at source scale", 1),
    Column("face_x1_px", _REAL, "px", "right edge of the main face's landmark box, median over the frames, at source scale", 1),
    Column("face_y1_px", _REAL, "px", "lower edge of the main face's landmark box, median over the frames, at source scale", 1),
    Column("face_width_px", _REAL, "px", "width of the main face, median over the frames, at source scale", 1),
    Column("face_height_px", _REAL, "px", "height of the main face, median over the frames, at source scale", 1),
    Column("face_size_px_p5", _REAL, "px", "5th percentile over the frames of the smaller of the face's width and height", 1),
    Column("interocular_px_p5", _REAL, "px", "5th percentile over the frames of the distance between the eye centres", 1),
    Column("n_cuts", _INT, "", "hard cuts within the clip", 1),
    # the pose of the head
    Column(
        "head_rotation_deg",
        _REAL,
        "deg",
        "mean over the frames with a face of the whole rotation's angle from upright and facing the camera",
        1,
    ),
    *_angle("yaw", "yaw (turn to the side)"),
    *_angle("pitch", "pitch (nod)"),
    *_angle("roll", "roll (tilt in the picture plane)"),
    Column(
        "pose_residual_px",
        _REAL,
        "px",
        "distance of the landmarks from the posed face template, median over the frames; large = distrust the angles",
        1,
    ),
    # lip sync and speech
    Column("sync_c", _REAL, "", "SyncNet confidence, Sync-C; null until SyncNet ran", 1),
    Column("sync_d", _REAL, "", "SyncNet minimum distance, Sync-D; null until SyncNet ran", 1),
    Column(
        "av_offset_frames",
        _INT,
        "frames",
        "SyncNet's audio-video offset at 25 Hz; positive = the sound is early; null until SyncNet ran",
        1,
    ),
    Column("sync_windows", _INT, "", "windows that SyncNet compared; few windows make its scores unsure", 1),
    Column("sync_track_ratio", _REAL, "0..1", "share of the clip's frames that the face track of sync_c covers; null until SyncNet ran", 3),
    Column("sync_c_runner_up", _REAL, "", "SyncNet confidence of the second-best face track; null where there is none", 2),
    Column("sync_tracks", _INT, "", "face tracks that SyncNet scored; sync_c is the best one's", 2),
    Column(
        "sync_track_scores",
        _TEXT,
        "",
        "JSON list of every track: first frame and frames at 25 Hz, face centre and side (px), sync_c, sync_d, offset, windows",
        2,
    ),
    Column(
        "lipsync_conf",
        _REAL,
        "",
        "landmark lip sync: best mean similarity over 31 shifts minus their median; not comparable with sync_c",
        1,
    ),
    Column(
        "lipsync_offset_frames", _INT, "frames", "landmark lip sync: offset of the best shift at 25 Hz; positive = the sound is early", 1
    ),
    Column("lipsync_windows", _INT, "", "windows that the landmark lip sync compared", 1),
    Column("speech_ratio", _REAL, "0..1", "share of the clip's sound in which somebody speaks", 1),
    # with what it was scored
    Column("landmark_model", _TEXT, "", "name and version of the landmark model", 1),
    Column("sync_model", _TEXT, "", "name and version of the lip-sync model", 1),
    Column("profile", _TEXT, "", "curation profile: embedded or paper", 1),
    Column("code_version", _TEXT, "", "version of the package that scored the clip", 1),
    Column("config_hash", _TEXT, "", "hash of models, versions and settings that decide the scores", 1),
    Column("decode_ms", _REAL, "ms", "time spent on decoding", 1),
    Column("landmarks_ms", _REAL, "ms", "time spent on landmarks", 1),
    Column("sync_ms", _REAL, "ms", "time spent on lip sync", 1),
    # the verdict
    Column("accepted", _BOOL, "", "the clip passed the preset; never null", 1),
    Column("reject_reasons", _TEXTS, "", "every reason why it did not, in the preset's order; empty where accepted; never null", 1),
)

NEVER_NULL = frozenset(
    {"clip_id", "source", "source_key", "identity", "video_path", "start_ms", "split", "status", "accepted", "reject_reasons"}
)
# Without these a table is no manifest; all others may be missing.
NEEDED_COLUMNS = ("clip_id", "source", "source_key", "identity", "video_path", "start_ms", "split", "status")
STATUSES = ("scored", "failed")
SPLITS = ("train", "test")
# Differ between two runs over the same clips, also where all scores agree; a comparison leaves them out.
TIMING_COLUMNS = ("decode_ms", "landmarks_ms", "sync_ms", "attempts", "file_stamp")

ERROR_KINDS: dict[str, str] = {
    "missing_file": "the index names a file that is not there",
    "unreadable": "the file is there but may not be read (permission, symlink loop, directory)",
    "empty_file": "the file has no bytes",
    "not_a_video": "the file is no container that can be opened",
    "no_video_stream": "the container has no video stream, for example audio only",
    "truncated": "the file ends before its content does",
    "decode_error": "the video stream cannot be decoded",
    "no_frames": "the clip's span holds no frame",
    "timeout": "the clip was not done within its deadline",
    "crash": "the process that worked on the clip died",
    "too_large": "the clip would exceed the byte budget",
    "no_face": "no frame shows a face to centre a crop on (materialise)",
    "scorer_error": "a scorer failed on the clip: a defect worth reporting",
}

_BY_NAME = {column.name: column for column in COLUMNS}


def column(name: str) -> Column:
    """The column of that name.

    Raises:
        UserError: unknown name; the message suggests the nearest.
    """
    if name not in _BY_NAME:
        raise UserError(f"unknown manifest column {name!r}{did_you_mean(name, _BY_NAME)}; manifests.describe() lists them")
    return _BY_NAME[name]


def column_of(field: pa.Field) -> Column:
    """The column that an Arrow field describes; unit and meaning are empty where the field's metadata lack them."""
    notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    since = notes.get("since", "")
    return Column(field.name, field.type, notes.get("unit", ""), notes.get("meaning", ""), int(since) if since.isdecimal() else 0)


def with_extra(extra: Iterable[Column]) -> tuple[Column, ...]:
    """`COLUMNS` followed by further columns, for example those of a scorer of one's own.

    Columns that the schema has already may be named again if the type agrees; a second column of one name is an error.
    """
    known = dict(_BY_NAME)
    for further in extra:
        other = known.get(further.name)
        if other is not None and other.type != further.type:
            raise UserError(f"column {further.name!r} is declared as {further.type} and as {other.type}")
        known.setdefault(further.name, further)
    return tuple(known.values())
