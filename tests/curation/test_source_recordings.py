import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifests
from curation.contracts import Clip
from curation.sources.recordings import PREFERENCE, cut_key, mark_duplicates, video_key, youtube_id

A, B = "AAAAAAAAAAA", "-bbbbbbbbb_"


def row(clip_id: str, source: str, key: str, start_ms: int, end_ms: int | None, **more) -> dict:
    return {"clip_id": clip_id, "source": source, "source_key": key, "start_ms": start_ms, "end_ms": end_ms} | more


def marks(*rows: dict, **settings) -> dict[str, str | None]:
    df = pd.DataFrame(rows)
    marked = mark_duplicates(df, **settings)
    assert marked.index.equals(df.index)
    return {name: None if pd.isna(original) else original for name, original in zip(df["clip_id"], marked, strict=True)}


def test_youtube_id():
    clip = Clip("hdtf", video_key(B, "x/y"), "p", "v.mp4")
    assert youtube_id(clip) == B
    assert youtube_id(Clip("voxceleb2", cut_key(B, "x", None), "p", "v.mp4")) == B
    assert youtube_id(Clip("multitalk", cut_key(B, "x", (5, 10)), "p", "v.mp4")) == B
    assert youtube_id(Clip("folder", "youtube/clip.mp4", "p", "v.mp4")) is None
    assert youtube_id(Clip("ccv1", "A/youtube:AAAAAAAAAAA/x", "p", "v.mp4")) is None


def test_clips_of_one_video_in_two_data_sets():
    found = marks(
        row("v", "voxceleb2", video_key(A, "id/u"), 10_000, 18_000),
        row("h", "hdtf", video_key(A, "WDA/x_0"), 5_000, 60_000),
        row("other video", "voxceleb1", video_key(B, "id/u"), 10_000, 18_000),
        row("later", "voxceleb2", video_key(A, "id/w"), 59_000, 70_000),  # shares 1 s of 11
        row("crop", "voxceleb2", cut_key(A, "id/c", (20_000, 30_000)), 0, None),
        row("somewhere", "voxceleb2", cut_key(A, "id/d", None), 0, None, duration_ms=4000.0),
        row("piece", "talkinghead1kh", cut_key(A, "t", (0, 60_000)), 30_000, 40_000),
        row("folder", "folder", "a.mp4", 0, 60_000),
    )
    assert found == {
        "v": "h",
        "h": None,
        "other video": None,
        "later": None,
        "crop": "h",
        "somewhere": None,
        "piece": "h",
        "folder": None,
    }


def test_one_video_under_two_names_of_one_data_set():
    """As WDA WhipJimClyburn and JamesClyburn1 in HDTF."""
    face = {"face_x0_px": 600, "face_y0_px": 50, "face_x1_px": 900, "face_y1_px": 400, "width_px": 1920, "height_px": 1080}
    half = {name: value / 2 for name, value in face.items()}  # another download of the video
    aside = face | {"face_x0_px": 1200, "face_x1_px": 1500}
    rows = [
        row("2", "hdtf", video_key(A, "WDA/WhipJimClyburn_0"), 5000, 280_000, **face),
        row("1", "hdtf", video_key(A, "WDA/JamesClyburn1_0"), 5000, 280_000, **half),
        row("3", "hdtf", video_key(A, "WDA/SomebodyBeside_0"), 5000, 280_000, **aside),
        row("4", "hdtf", video_key(A, "WDA/NoFaceKnown_0"), 5000, 280_000),
    ]
    assert marks(*rows) == {"1": None, "2": "1", "3": None, "4": None}
    del rows[3]
    assert marks(*(entry | {"source_key": entry["source_key"].replace("/", "@0-300000/", 1)} for entry in rows)) == dict.fromkeys("123")


def test_failed_clips_replace_nothing():
    rows = [
        row("h", "hdtf", video_key(A, "x"), 0, 9000, status="failed"),
        row("v", "voxceleb2", video_key(A, "y"), 0, 9000, status="scored"),
    ]
    assert marks(*rows) == {"h": None, "v": None}
    rows[0]["status"] = "scored"
    assert marks(*rows) == {"h": None, "v": "h"}


def test_end_of_the_file_comes_from_its_length():
    rows = [row("m", "multitalk", video_key(A, "x"), 1000, None, duration_ms=5000.0), row("v", "voxceleb2", video_key(A, "y"), 2000, 6000)]
    assert marks(*rows) == {"m": None, "v": "m"}


def test_a_manifest_as_it_is_read_back():
    df = pd.DataFrame([row("h", "hdtf", video_key(A, "x"), 0, 9000), row("v", "voxceleb2", video_key(A, "y"), 0, 9000)], index=[7, 3])
    df["status"] = "scored"
    marked = mark_duplicates(df.convert_dtypes())
    assert marked.isna().to_dict() == {7: True, 3: False}
    assert (marked[3], marked.name, str(marked.dtype)) == ("h", "duplicate_of", "string")
    assert mark_duplicates(df.iloc[:0]).empty


spans = st.tuples(st.sampled_from([*PREFERENCE, "folder"]), st.sampled_from([A, B]), st.integers(0, 30), st.integers(1, 20))


@given(st.lists(spans, max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_marks_follow_from_the_definition(items, random):
    rows = [row(f"{i:03d}", s, video_key(v, f"{i}"), 1000 * a, 1000 * (a + n)) for i, (s, v, a, n) in enumerate(items)]
    if not rows:
        return
    found = marks(*rows)
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert marks(*shuffled) == found
    by_id = {entry["clip_id"]: entry for entry in rows}
    originals = [entry for entry in rows if found[entry["clip_id"]] is None]

    def repeat(a: dict, b: dict) -> bool:
        shared = min(a["end_ms"], b["end_ms"]) - max(a["start_ms"], b["start_ms"])
        shorter = min(a["end_ms"] - a["start_ms"], b["end_ms"] - b["start_ms"])
        same_video = a["source_key"].split("/")[0] == b["source_key"].split("/")[0]
        return a["source"] != b["source"] and same_video and shared > 0 and shared >= 0.5 * shorter

    for name, original in found.items():
        if original is not None:
            assert found[original] is None  # no chains
            assert repeat(by_id[name], by_id[original])
    for i, a in enumerate(originals):
        assert not any(repeat(a, b) for b in originals[i + 1 :])


def test_face_boxes_in_other_pictures_and_through_the_ledger():
    clip = Clip("s", "k", "p", "v", face_box_px=(0.1, 0.2, 0.5, 0.6), face_box_width_px=1.0, face_box_height_px=1.0)
    assert clip.face_box_in(640, 360) == pytest.approx((64.0, 72.0, 320.0, 216.0))
    assert Clip("s", "k", "p", "v", face_box_px=(1.0, 2.0, 3.0, 4.0)).face_box_in(640, 360) == (1.0, 2.0, 3.0, 4.0)
    assert Clip("s", "k", "p", "v", face_box_px=(10.0, 20.0, 30.0, 40.0), face_box_height_px=720.0).face_box_in(1920, 1080) == (
        15.0,
        30.0,
        45.0,
        60.0,
    )
    assert Clip("s", "k", "p", "v").face_box_in(640, 360) is None
    tree = json.loads(json.dumps(asdict(clip)))
    box = tree.pop("face_box_px")
    assert Clip(**tree, face_box_px=tuple(box)) == clip
    assert np.isfinite(clip.face_box_in(640, 360)).all()


def test_duplicates_of_two_runs_by_command(tmp_path, capsys):
    from curation import cli

    for source, length_ms in (("hdtf", 9000), ("voxceleb2", 8000)):
        clip = Clip(source, video_key(A, source), "p", "v.mp4", 0, length_ms)
        scored = {"clip_id": clip.clip_id, "source": source, "source_key": clip.source_key, "identity": "p", "video_path": "v.mp4"}
        more = {"start_ms": 0, "end_ms": length_ms, "split": "train", "status": "scored", "attempts": 1, "accepted": True}
        manifests.write([scored | more], tmp_path / f"{source}.parquet")
    cli.main(["duplicates", str(tmp_path / "hdtf.parquet"), str(tmp_path / "voxceleb2.parquet"), "--out", str(tmp_path / "all.parquet")])
    assert "1 of 2 clips" in capsys.readouterr().out
    joined = manifests.load(tmp_path / "all.parquet").set_index("source")
    assert joined.loc["voxceleb2", "duplicate_of"] == joined.loc["hdtf", "clip_id"]
    assert joined["duplicate_of"].isna().sum() == 1
    assert manifests.validate(manifests.load(tmp_path / "all.parquet")) == []
