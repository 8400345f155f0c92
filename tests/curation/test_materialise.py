"""Materialised clips: pictures and landmarks agree, sound stays with the picture, rows stay rows, a run can be continued."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

import manifests
from curation.contracts import Clip
from curation.landmarks import make_backend
from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE, interocular
from curation.materialise.clip import true_path
from curation.materialise.run import materialise
from curation.materialise.settings import MaterialiseSettings
from curation.media import MediaReader
from manifests.errors import UserError
from tests.curation.clip_files import write_face_clip
from tests.curation.parent_manifests import DOT_SIGMA_PX, DOTS, Planted, head_points, write_dot_video, write_parent
from tests.faults import Recipe, write_clip

SILENT = {"say": lambda line: None, "executor": "inprocess"}
SMALL = MaterialiseSettings(size_px=128)


def wandering(n_frames: int, step_px: float = 2.0) -> np.ndarray:
    t = np.arange(n_frames)
    return head_points(np.stack([200 + step_px * t, 170 + 10 * np.sin(t / 6)], axis=1))


def new_rows(out: Path):
    df = manifests.load(out)
    assert manifests.validate(df) == []
    return df.set_index("parent_video_path", drop=False)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- pictures and landmarks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crop", "fps", "hz"), [("fixed", 25, 25.0), ("smoothed", 25, 25.0), ("smoothed", 50, 12.5)])
def test_dots_lie_where_the_moved_landmarks_say(tmp_path, crop, fps, hz):
    """The file has a bright dot at each landmark; in the crop its centre of mass is within 0.3 px of the moved landmark."""
    points = wandering(50 * fps // 25, step_px=2.0 * 25 / fps)
    write_dot_video(tmp_path / "a.mp4", points, (480, 360), fps=fps)
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / "a.mp4", points[:: round(fps / hz)], hz)])
    materialise(str(parent), str(tmp_path / "out"), MaterialiseSettings(size_px=256, crop=crop), **SILENT)
    row = new_rows(tmp_path / "out").iloc[0]
    moved = manifests.load_landmarks(tmp_path / "out", row["clip_id"])
    np.testing.assert_allclose(np.diff(moved.times_ms), 1000 / hz)
    errors = []
    with MediaReader() as reader:
        for time_ms, of_frame in zip(moved.times_ms, moved.points_px, strict=True):
            picture = reader.pictures_at(row["video_path"], [time_ms])[0][..., 1].astype(float)
            for dot in of_frame[list(DOTS)]:
                errors.append(np.hypot(*(centre_of_mass(picture, dot, DOT_SIGMA_PX * row["crop_zoom"]) - dot)))
    assert len(errors) == len(moved.times_ms) * len(DOTS)
    print(f"dots: worst {max(errors):.3f} px")
    assert max(errors) < 0.3, np.max(errors)
    squares_move = np.ptp(moved.points_px[:, 30, 0]) < 0.75 * row["crop_zoom"] * 98
    assert squares_move == (crop == "smoothed"), "a fixed square keeps the head's motion"


def centre_of_mass(picture: np.ndarray, near: np.ndarray, sigma_px: float) -> np.ndarray:
    reach = round(4 * sigma_px)
    column, row = (int(value) for value in near)
    top, left = max(0, row - reach), max(0, column - reach)
    part = np.clip(picture[top : row + reach + 1, left : column + reach + 1] - 50, 0, None)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    return np.array([(x * part).sum(), (y * part).sum()]) / part.sum() + [left, top]


def test_redetected_mouth_and_eyes_agree(tmp_path):
    """The landmark network, run again on the crop, finds mouth and eyes where the moved landmarks are: within 2 % of the eyes' distance."""
    write_face_clip(tmp_path / "a.mp4", seed=3, n_frames=30, size_px=480)
    points = detected(tmp_path / "a.mp4")
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / "a.mp4", points)])
    materialise(str(parent), str(tmp_path / "out"), MaterialiseSettings(size_px=256), **SILENT)
    row = new_rows(tmp_path / "out").iloc[0]
    moved = manifests.load_landmarks(tmp_path / "out", row["clip_id"]).points_px
    again = detected(Path(row["video_path"]))
    assert again.shape == moved.shape
    away = np.linalg.norm(again - moved, axis=2)
    eyes_px, mouth_px = away[:, [*range(*RIGHT_EYE.indices(68)), *range(*LEFT_EYE.indices(68))]].mean(), away[:, LIPS].mean()
    print(f"re-detected: eyes {eyes_px:.2f} px, mouth {mouth_px:.2f} px of {np.median(interocular(moved)):.0f} px between the eyes")
    limit_px = 0.02 * np.median(interocular(moved))
    assert eyes_px < limit_px, (eyes_px, limit_px)
    assert mouth_px < limit_px, (mouth_px, limit_px)


def detected(file: Path) -> np.ndarray:
    clip = Clip("folder", file.name, file.name, str(file))
    with MediaReader() as reader, reader.read(clip, audio=False) as stream:
        tracker = make_backend("facemesh", {}).track(clip, stream.info)
        for frame in stream.frames():
            tracker.on_frame(frame)
    return tracker.finish().points_px


def test_geometry_columns_are_those_of_the_crop(tmp_path):
    points = head_points(np.full((30, 2), [320.0, 240.0]))
    write_dot_video(tmp_path / "a.mp4", points)
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / "a.mp4", points)])
    materialise(str(parent), str(tmp_path / "out"), SMALL, **SILENT)
    row = new_rows(tmp_path / "out").iloc[0]
    height_px = np.ptp(points[0, :, 1])
    side_px = 2 * max(np.ptp(points[0, :, 0]), height_px)
    assert row["crop_side_px"] == pytest.approx(side_px, rel=1e-3)
    assert row["crop_zoom"] == pytest.approx(128 / side_px, rel=1e-3)
    assert row["face_height_px"] == pytest.approx(height_px * 128 / side_px, abs=0.1)
    assert (row["width_px"], row["height_px"], row["fps"], row["n_frames"], row["duration_ms"]) == (128, 128, 25, 30, 1200)
    assert row["crop_inside_ratio"] == pytest.approx(1.0)
    assert not row["has_audio"]


def test_within_the_picture_nothing_is_black(tmp_path):
    points = head_points(np.full((8, 2), [60.0, 180.0]))  # near the left edge
    write_dot_video(tmp_path / "a.mp4", points, (480, 360))
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / "a.mp4", points)])
    for within in (False, True):
        materialise(str(parent), str(tmp_path / str(within)), MaterialiseSettings(size_px=128, within_picture=within), **SILENT)
        row = new_rows(tmp_path / str(within)).iloc[0]
        with MediaReader() as reader:
            darkest = reader.pictures_at(row["video_path"], [0])[0].min()
        assert (row["crop_inside_ratio"] == 1.0, darkest > 20) == (within, within)


# --- sound ---------------------------------------------------------------------------------------------------------------------------

SLOW_CASES = (("a.mp4", "flac"), ("a.mkv", "aac"), ("a.mkv", "flac"), ("thirty.mp4", "aac"))
CLICK = np.concatenate([np.full(8, 30000), np.full(8, -30000)]).astype(np.int16)


def clicking_clip(path: Path, *, seconds: float, fps: int, every_s: float, early_s: float = 0.0, **recipe) -> None:
    """A white frame and a click together every so often; the click may come early."""
    at_s = np.arange(every_s, seconds - 0.3, every_s)
    sound = np.zeros(round(seconds * 16000), np.int16)
    for time_s in at_s - early_s:
        sound[round(time_s * 16000) :][: len(CLICK)] = CLICK
    bright = frozenset(round(time_s * fps) for time_s in at_s)
    write_clip(path, Recipe(times=range(round(seconds * fps)), ticks_hz=fps, sound=sound, bright=bright, size_px=(160, 120), **recipe))


def flashes_and_clicks_ms(path: str) -> tuple[np.ndarray, np.ndarray]:
    """When white frames begin and clicks sound, by PyAV's time stamps alone."""
    flashes, clicks = [], []
    with av.open(path) as container:
        flashes = [1000 * f.time for f in container.decode(video=0) if f.to_ndarray(format="gray")[-8:, 56:72].mean() > 170]
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(float)).ravel()
            loud = np.flatnonzero(samples > (0.35 if frame.format.name.startswith("flt") else 11000))
            clicks += [1000 * frame.time + i / 16 for i in loud]
    clicks = np.array(clicks)
    first = np.concatenate([[True], np.diff(clicks) > 50]) if len(clicks) else np.zeros(0, bool)
    return np.array(flashes), clicks[first]


@pytest.mark.parametrize(
    ("name", "audio_codec"),
    [("a.mp4", "aac"), ("thirty.mp4", "flac"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_CASES)],
)
def test_sound_stays_within_10_ms_of_the_picture(tmp_path, name, audio_codec):
    """Flash and click, every 1.2 s over 12 s; measured by PyAV on the new file."""
    fps = 30 if name.startswith("thirty") else 25
    clicking_clip(tmp_path / name, seconds=12, fps=fps, every_s=1.2)
    points = head_points(np.full((300, 2), [80.0, 60.0]), 2.5)
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / name, points)])
    materialise(str(parent), str(tmp_path / "out"), MaterialiseSettings(size_px=128, audio_codec=audio_codec), **SILENT)
    row = new_rows(tmp_path / "out").iloc[0]
    flashes, clicks = flashes_and_clicks_ms(row["video_path"])
    np.testing.assert_allclose(flashes, np.arange(1200, 11700, 1200), atol=0.1)
    assert len(clicks) == len(flashes)
    print(f"sound against picture: worst {abs(clicks - flashes).max():.2f} ms")
    assert abs(clicks - flashes).max() < 10, clicks - flashes
    with MediaReader() as reader, reader.read(Clip("folder", "x", "x", row["video_path"])) as stream:
        n_frames = sum(1 for _ in stream.frames())
        assert (n_frames, len(stream.audio)) == (300, 300 * 640)


@pytest.mark.parametrize("early_frames", [3, -4])
@pytest.mark.parametrize("span_ms", [(0, None), (2000, 8000)])
def test_a_constant_offset_is_repaired(tmp_path, early_frames, span_ms):
    """Clicks planted so many frames early (negative: late) fall on their flashes afterwards; the first and last within the span too."""
    clicking_clip(tmp_path / "a.mp4", seconds=10, fps=25, every_s=1.0, early_s=early_frames / 25)
    start_ms, end_ms = span_ms
    n_frames = ((end_ms or 10_000) - start_ms) // 40
    row = {"av_offset_frames": early_frames, "lipsync_offset_frames": early_frames + 1, "start_ms": start_ms, "end_ms": end_ms}
    points = head_points(np.full((n_frames, 2), [80.0, 60.0]), 2.5)
    parent = write_parent(tmp_path / "run", [Planted(tmp_path / "a.mp4", points, row=row)])
    materialise(str(parent), str(tmp_path / "out"), MaterialiseSettings(size_px=128, repair_offset=True), **SILENT)
    new = new_rows(tmp_path / "out").iloc[0]
    assert (new["audio_shift_ms"], new["av_offset_frames"], new["lipsync_offset_frames"]) == (40 * early_frames, 0, 1)
    flashes, clicks = flashes_and_clicks_ms(new["video_path"])
    assert len(flashes) == (9 if end_ms is None else 6)
    flashes = flashes[flashes > 0]  # a click on the very first sample is cut in two by the encoder
    nearest = clicks[np.abs(clicks[:, None] - flashes).argmin(axis=0)]
    assert abs(nearest - flashes).max() < 10, nearest - flashes


def test_large_or_unknown_offsets_are_left_alone(tmp_path):
    write_dot_video(tmp_path / "a.mp4", small_head(10), (160, 120), sound=np.zeros(6400, np.int16))
    clips = [
        Planted(tmp_path / "a.mp4", small_head(10), row={"lipsync_offset_frames": offset, "start_ms": i})
        for i, offset in ((0, 15), (1, None))
    ]
    parent = write_parent(tmp_path / "run", clips)
    materialise(str(parent), str(tmp_path / "out"), MaterialiseSettings(size_px=64, repair_offset=True), **SILENT)
    rows = manifests.load(tmp_path / "out")
    assert (rows["audio_shift_ms"] == 0).all()
    assert sorted(rows["lipsync_offset_frames"].fillna(-1)) == [-1, 15]


# --- rows and runs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path) -> Path:
    """A run of four readable clips, of which one was rejected, one unseen face, one failed row, one file that has gone."""
    clips = []
    for i in range(4):
        points = small_head(12 + i)
        write_dot_video(tmp_path / f"{i}.mp4", points, (160, 120), sound=np.zeros(16000, np.int16))
        clips.append(Planted(tmp_path / f"{i}.mp4", points))
    clips[1] = Planted(tmp_path / "1.mp4", points[:13], row={"accepted": False, "reject_reasons": ["no_speech"], "speech_ratio": 0.1})
    write_dot_video(tmp_path / "unseen.mp4", small_head(5), (160, 120))
    clips.append(Planted(tmp_path / "unseen.mp4", np.full((5, 68, 2), np.nan)))
    clips += [Planted(tmp_path / "failed.mp4", None), Planted(tmp_path / "gone.mp4", small_head(5))]
    return write_parent(tmp_path / "run", clips)


def small_head(n_frames: int) -> np.ndarray:
    return head_points(np.stack([70 + np.arange(n_frames), np.full(n_frames, 60)], axis=1), 3.0)


def test_where_selects_and_failures_are_rows(several, tmp_path):
    before = digests(several.parent)
    result = materialise(str(several), str(tmp_path / "all"), SMALL, where="accepted or status == 'failed'", **SILENT)
    rows = new_rows(tmp_path / "all")
    names = {Path(path).name: row for path, row in rows.iterrows()}
    assert set(names) == {"0.mp4", "2.mp4", "3.mp4", "unseen.mp4", "failed.mp4", "gone.mp4"}
    assert {name: row["error_kind"] for name, row in names.items() if row["status"] == "failed"} == {
        "unseen.mp4": "no_face",
        "failed.mp4": "truncated",
        "gone.mp4": "missing_file",
    }
    assert list(names["gone.mp4"]["reject_reasons"]) == ["failed:missing_file"]
    assert result.fresh.clips == 6
    assert len(list((tmp_path / "all" / "clips").rglob("*.mp4"))) == 3
    assert {path: value for path, value in digests(several.parent).items() if not path.startswith("all/")} == before, "originals untouched"
    materialise(str(several), str(tmp_path / "rejected"), SMALL, where="reject_reasons.list.len() > 0 and speech_ratio < 0.2", **SILENT)
    only = new_rows(tmp_path / "rejected").iloc[0]
    assert (Path(only["parent_video_path"]).name, bool(only["accepted"]), list(only["reject_reasons"])) == ("1.mp4", False, ["no_speech"])


def test_provenance_and_identity_are_kept(several, tmp_path):
    materialise(str(several), str(tmp_path / "out"), SMALL, **SILENT)
    rows, parent = manifests.load(tmp_path / "out"), manifests.load(several).set_index("clip_id")
    config = manifests.run_config(tmp_path / "out")
    assert config["where"] == "accepted"
    assert len(config["parent"]["manifest_hash"]) == 24
    assert config["parent"]["run_config"]["source"] == "folder"
    for _, row in rows.iterrows():
        assert row["identity"] == parent.loc[row["parent_clip_id"], "identity"]
        assert row["split"] == parent.loc[row["parent_clip_id"], "split"]
        assert row["clip_id"] not in parent.index


def test_the_same_call_again_cuts_nothing_and_takes_up_changes(several, tmp_path):
    out = tmp_path / "out"
    materialise(str(several), str(out), SMALL, **SILENT)
    before = digests(out)
    assert materialise(str(several), str(out), SMALL, **SILENT).fresh.clips == 0
    assert digests(out) == before
    df = manifests.load(several)
    df["speech_ratio"] = np.float32(0.75)
    df.loc[df["source_key"] == "3.mp4", "accepted"] = False
    df.loc[df["source_key"] == "3.mp4", "reject_reasons"] = df.loc[df["source_key"] == "1.mp4", "reject_reasons"].to_numpy()
    manifests.write(df, several / "manifest.parquet")
    gone_file = Path(manifests.load(out).set_index("parent_video_path").loc[str(several.parent / "3.mp4"), "video_path"])
    fresh = materialise(str(several), str(out), SMALL, **SILENT).fresh
    assert (fresh.clips, fresh.reused) == (0, 4), "a score that the picture does not depend on encodes nothing again"
    rows = new_rows(out)
    assert (rows["speech_ratio"] == 0.75).all()
    assert str(several.parent / "3.mp4") not in rows.index
    assert not gone_file.exists()


def test_a_lost_clip_is_cut_again(several, tmp_path):
    out = tmp_path / "out"
    materialise(str(several), str(out), SMALL, **SILENT)
    before = digests(out / "clips")
    next((out / "clips").rglob("*.mp4")).unlink()
    assert materialise(str(several), str(out), SMALL, **SILENT).fresh.clips == 1
    assert digests(out / "clips") == before


def test_what_killed_writers_left_is_removed(several, tmp_path):
    materialise(str(several), str(tmp_path / "out"), SMALL, **SILENT)
    shard = next((tmp_path / "out" / "ledger").glob("*.parquet"))
    folder = tmp_path / "out" / "clips" / shard.stem
    left = [path.with_name(f".{path.name}.17.ab.tmp") for path in (shard, tmp_path / "out" / "manifest.parquet", folder / "a.mp4")]
    for file in left:
        file.write_bytes(b"half")
    shard.unlink()  # it was being committed
    materialise(str(several), str(tmp_path / "out"), SMALL, **SILENT)
    assert not any(file.exists() for file in left)


def test_failures_can_be_tried_again(several, tmp_path):
    out = tmp_path / "out"
    materialise(str(several), str(out), SMALL, **SILENT)
    write_dot_video(several.parent / "gone.mp4", small_head(5), (160, 120))
    assert materialise(str(several), str(out), SMALL, **SILENT).fresh.clips == 0
    again = materialise(str(several), str(out), SMALL, retry_failed=True, **SILENT)
    assert again.fresh.clips == 2
    assert new_rows(out).loc[str(several.parent / "gone.mp4"), "status"] == "scored"


def test_a_directory_that_was_moved_names_its_clips_anew(several, tmp_path):
    materialise(str(several), str(tmp_path / "out"), SMALL, **SILENT)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    materialise(str(several), str(tmp_path / "elsewhere"), SMALL, **SILENT)
    rows = manifests.load(tmp_path / "elsewhere").query("status == 'scored'")
    assert all(Path(path).is_file() and "elsewhere" in path for path in rows["video_path"])


def test_mistakes_are_one_line(several, tmp_path):
    out = str(tmp_path / "out")
    materialise(str(several), out, SMALL, **SILENT)
    with pytest.raises(UserError, match="choose another OUT"):
        materialise(str(several), out, MaterialiseSettings(size_px=64), **SILENT)
    with pytest.raises(UserError, match="choose another OUT"):
        materialise(str(several), out, SMALL, where="status == 'scored'", **SILENT)
    with pytest.raises(UserError, match="choose another OUT"):
        materialise(str(several), str(several), SMALL, **SILENT)
    with pytest.raises(UserError, match="no query"):
        materialise(str(several), str(tmp_path / "a"), SMALL, where="acepted", **SILENT)
    with pytest.raises(UserError, match="selects none"):
        materialise(str(several), str(tmp_path / "a"), SMALL, where="speech_ratio > 5", **SILENT)
    with pytest.raises(manifests.UserError, match="nothing there"):
        materialise(str(tmp_path / "none"), str(tmp_path / "a"), SMALL, **SILENT)
    for wrong in ({"size_px": 127}, {"crop": "round"}, {"audio_codec": "mp3"}, {"scale": 0.1}, {"crf": 90}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MaterialiseSettings(**wrong)


def test_names_that_are_no_utf8_are_found(tmp_path):
    import os

    name = os.fsdecode(b"not-utf8-\xff\xfe.mp4")
    (tmp_path / name).write_bytes(b"x")
    written = os.fsencode(str(tmp_path / name)).decode("utf-8", "backslashreplace")
    assert Path(true_path(written)).read_bytes() == b"x"
    assert true_path("/a/b\\xzz.mp4") == "/a/b\\xzz.mp4"
