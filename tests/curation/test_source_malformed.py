"""Broken index files: every bad line is reported by file and line and skipped; nothing is fatal and nothing leaves ROOT."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.contracts import Clip
from curation.sources.casual_conversations import CasualConversations1, CasualConversations2
from curation.sources.hdtf import HDTF, parse_interval
from curation.sources.index_files import IndexLog, json_entries, relative_path
from curation.sources.multitalk import MultiTalk
from curation.sources.talkinghead1kh import TalkingHead1KH, parse_tube
from curation.sources.voxceleb import VoxCeleb1, VoxCeleb2
from manifests.configuration import build
from manifests.errors import UserError

ID = "abcdefghij-"


def put(root: Path, name: str, text: str = "x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def places(source) -> list[str]:
    """`file:line` of every malformed line."""
    return [line.split(": ")[0] for line in source.report().malformed]


def read(source) -> list[Clip]:
    clips = list(source.clips())
    for clip in clips:
        assert Path(os.path.normpath(clip.video_path)).is_relative_to(source.root)
    assert [clip.clip_id for clip in source.clips()] == [clip.clip_id for clip in clips]
    return clips


def test_talkinghead1kh_lines(tmp_path):
    good = f"{ID}_0000, 720, 1280, 10, 19, 504, 63, 792, 351"
    bad = [
        f"{ID}_0000, 720, 1280, 10, 19, 504, 63, 792",  # a column short
        f"{ID}_0000, 720, 1280, 10, 19, 504, 63, 792, 351, 1",
        f"{ID}_0000, 720, 1280, -10, 19, 504, 63, 792, 351",  # negative
        f"{ID}_0000, 720, 1280, 20, 19, 504, 63, 792, 351",  # ends before it begins
        f"{ID}_0000, 720, 1280, 1, 1e3, 504, 63, 792, 351",
        f"{ID}_0000, 0, 1280, 10, 19, 504, 63, 792, 351",  # no picture
        f"{ID}_0000, 720, 1280, 10, 19, 792, 63, 504, 351",  # box without area
        "../../../etc/passwd_0000, 720, 1280, 10, 19, 504, 63, 792, 351",
        "/etc/passwd_0000, 720, 1280, 10, 19, 504, 63, 792, 351",
        good,  # again
        f"{ID}_{'9' * 5000}, 720, 1280, 10, 19, 504, 63, 792, 351",
        f"{ID}_0000, 720, 1280, 9999999, 9999999, 504, 63, 792, 351",  # days into a minute
        "\x00\x01",
    ]
    put(tmp_path, "data_list/train_video_tubes.txt", "\n".join([good, *bad]))
    put(tmp_path, f"train/1min_clips/{ID}_0000.webm")
    source = TalkingHead1KH(str(tmp_path), fps=25.0)
    (clip,) = read(source)
    assert (clip.start_ms, clip.end_ms, clip.video_path) == (400, 800, str(tmp_path / f"train/1min_clips/{ID}_0000.webm"))
    assert sorted(places(source)) == sorted(f"train_video_tubes.txt:{n}" for n in range(2, 15))
    assert source.report().n_named == 14


def test_talkinghead1kh_asks_the_pieces_for_their_rate(tmp_path):
    from clip_files import write_face_clip

    lines = [f"{ID}_{piece:04d}, 720, 1280, 30, 59, 504, 63, 792, 351" for piece in (0, 1, 2)] + [
        "ABCDEFGHIJK_0000, 720, 1280, 30, 59, 0, 0, 9, 9"
    ]
    put(tmp_path, "data_list/val_video_tubes.txt", "\n".join(lines))
    put(tmp_path, f"val/1min_clips/{ID}_0000.mp4", "not a video")
    write_face_clip(tmp_path / f"val/1min_clips/{ID}_0001.mp4", seed=0, n_frames=10, fps=50)
    source = TalkingHead1KH(str(tmp_path))
    clips = list(source.clips())
    assert [(clip.start_ms, clip.end_ms) for clip in clips] == [(600, 1200)] * 3 + [
        (1000, 2000)
    ]  # of the second video nothing is there: 30
    assert [Path(path).name for path in source.report().missing] == [f"{ID}_0002.mp4", "ABCDEFGHIJK_0000.mp4"]


def entry(**change) -> dict:
    box = {"top": 0.1, "bottom": 0.5, "left": 0.2, "right": 0.6}
    return {"youtube_id": ID, "duration": {"start_sec": 1.0, "end_sec": 2.5}, "bbox": box, "language": "dutch", "transcript": ""} | change


def test_multitalk_entries(tmp_path):
    bad = {
        f"{ID}_x": entry(),
        "../../evil": entry(),
        "/etc/passwd": entry(),
        f"{ID}_1": entry(language="../../etc"),
        f"{ID}_2": entry(duration={"start_sec": -1.0, "end_sec": 2.0}),
        f"{ID}_3": entry(duration={"start_sec": 2.0, "end_sec": 2.0}),
        f"{ID}_4": entry(duration={"start_sec": 2.0}),
        f"{ID}_5": entry(duration={"start_sec": "soon", "end_sec": 2.0}),
        f"{ID}_6": entry(bbox={"top": 0.5, "bottom": 0.1, "left": 0.2, "right": 0.6}),
        f"{ID}_7": entry(bbox={"top": 0.1, "bottom": 5, "left": 0.2, "right": 0.6}),
        f"{ID}_8": entry(youtube_id="../../../etc"),
        f"{ID}_9": ["a", "list"],
        f"{ID}_10": entry(duration={"start_sec": True, "end_sec": 2.0}),
        f"{ID}_11": entry(duration={"start_sec": 0.0, "end_sec": float("inf")}),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in [(f"{ID}_0", entry()), *bad.items(), (f"{ID}_0", entry())]]
    put(tmp_path, "annotations/dutch.json", "{" + ",\n".join(lines) + "}")
    source = MultiTalk(str(tmp_path))
    (clip,) = read(source)
    assert (clip.start_ms, clip.end_ms, clip.source_key) == (1000, 2500, f"youtube:{ID}/dutch/{ID}_0")
    assert clip.face_box_in(100, 200) == pytest.approx((20.0, 20.0, 60.0, 100.0))
    assert places(source) == [f"dutch.json:{n}" for n in range(2, 17)]
    assert source.report().missing == (str(tmp_path / f"raw_video/dutch/{ID}.mp4"),)


def test_multitalk_clips_that_its_script_has_cut(tmp_path):
    put(tmp_path, "annotations/dutch.json", json.dumps({f"{ID}_0": entry(), f"{ID}_1": entry()}))
    put(tmp_path, f"multitalk_dataset/dutch/{ID}_0.mp4")
    source = MultiTalk(str(tmp_path))
    clips = read(source)
    assert [(clip.start_ms, clip.end_ms, clip.face_box_px) for clip in clips] == [(0, None, None)] * 2
    assert clips[0].source_key == f"youtube:{ID}@1000-2500/dutch/{ID}_0"
    assert [Path(path).name for path in source.report().missing] == [f"{ID}_1.mp4"]


@given(cut=st.integers(0, 400), seed=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_truncated_json_yields_what_arrived(tmp_path_factory, cut, seed):
    tmp_path = tmp_path_factory.mktemp("json")
    whole = {f"{ID}_{n}": [n] for n in range(seed * 10)}
    text = json.dumps(whole, indent=1 if seed % 2 else None)[:cut]
    put(tmp_path, "a.json", text)
    log = IndexLog()
    found = [(key, value) for _, key, value in json_entries(tmp_path / "a.json", "{", log)]
    assert found == list(whole.items())[: len(found)]
    complete = cut >= len(json.dumps(whole, indent=1 if seed % 2 else None))
    assert len(found) >= text.count("]")  # a member is whole once its list is closed
    assert len(log.report().malformed) == (0 if complete else 1)


@pytest.mark.parametrize("text", ["", "null", "[1, 2]", '{"a" 1}', '{"a": ' + "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{1: 2"])
def test_no_json_file_is_fatal(tmp_path, text):
    put(tmp_path, "a.json", text)
    log = IndexLog()
    list(json_entries(tmp_path / "a.json", "{", log))
    assert [line.split(": ")[0] for line in log.report().malformed] == ["a.json:1"]


def test_hdtf_lines(tmp_path):
    put(
        tmp_path,
        "HDTF_dataset/RD_annotion_time.txt",
        "Ann1.mp4 00:10-00:20 00:50-00:40 -1:00-00:10 01:00-01:30\n"
        "../../etc/passwd.mp4 00:10-00:20\n"
        "/etc/passwd.mp4 00:10-00:20\n"
        "Ann1.mp4 00:10-00:20\n"
        "Bob.mp4\n"
        "Cid.mp4 1:00:00-1:00:05\n",
    )
    put(tmp_path, "HDTF_dataset/RD_video_url.txt", f"Ann1 https://www.youtube.com/watch?v={ID}&t=6s\nCid https://example.com/../..\nDan\n")
    put(tmp_path, "HDTF_dataset/RD_resolution.txt", "Ann1.mp4 720\nCid.mp4 tall\n")
    put(tmp_path, "HDTF_dataset/RD_crop_wh.txt", "Ann1_0.mp4 10 100 20 100\nAnn1_3.mp4 10 100 -20 100\nCid_0.mp4 1 2 3\n")
    put(tmp_path, "videos/RD_Ann1.mkv")
    source = HDTF(str(tmp_path))
    clips = read(source)
    assert [(clip.source_key, clip.start_ms, clip.end_ms, clip.face_box_px) for clip in clips] == [
        (f"youtube:{ID}/RD/Ann1_0", 10_000, 20_000, (10.0, 20.0, 110.0, 120.0)),
        (f"youtube:{ID}/RD/Ann1_3", 60_000, 90_000, None),
        ("RD/Cid_0", 3_600_000, 3_605_000, None),
    ]
    assert clips[0].face_box_in(2560, 1440) == (20.0, 40.0, 220.0, 240.0)
    assert clips[0].video_path == str(tmp_path / "videos/RD_Ann1.mkv")
    assert sorted(places(source)) == sorted(
        ["RD_resolution.txt:2", "RD_video_url.txt:2", "RD_video_url.txt:3", "RD_crop_wh.txt:2", "RD_crop_wh.txt:3"]
        + ["RD_annotion_time.txt:1"] * 2
        + [f"RD_annotion_time.txt:{n}" for n in (2, 3, 4, 5)]
    )
    assert source.report().missing == (str(tmp_path / "videos/Cid.mp4"),)


@given(start=st.integers(0, 5999), length=st.integers(1, 5999))
def test_hdtf_intervals(start, length):
    end = start + length
    text = "-".join(
        f"{second // 3600}:{second // 60 % 60:02d}:{second % 60:02d}" if second >= 3600 else f"{second // 60:02d}:{second % 60:02d}"
        for second in (start, end)
    )
    assert parse_interval(text) == (start * 1000, end * 1000)
    with pytest.raises(ValueError, match="empty, negative"):
        parse_interval("-".join(reversed(text.split("-"))))


TRACK = (
    "Identity  : \tid00012\nReference : \t{video}\nOffset    : \t2\nFV Conf   : \t20.230\t(1)\nASD Conf  : \t2.765\n\n"
    "FRAME \tX \tY \tW \tH \n{rows}"
)


def track(rows: str, video: str = ID) -> str:
    return TRACK.format(video=video, rows=rows)


def test_voxceleb_tracks(tmp_path):
    base = f"txt/id00012/{ID}"
    rows = "000100 \t0.1 \t0.2 \t0.3 \t0.4 \n000101 \t0.0 \t0.3 \t0.3 \t0.4 \n"
    put(tmp_path, f"{base}/00001.txt", track(rows))
    put(
        tmp_path,
        f"{base}/00002.txt",
        track(rows + "000102 \t0.1 \n-00103 0.1 0.2 0.3 0.4\n000050 0.1 0.2 0.3 0.4\n000104 nan 0 1 1\n900104 0 0 1 1\n"),
    )
    put(tmp_path, f"{base}/00003.txt", track(rows, video="ABCDEFGHIJK"))  # another video's
    put(tmp_path, f"{base}/00004.txt", track(""))
    put(tmp_path, f"{base}/00005.txt", "")
    put(tmp_path, f"{base}/notes.md")
    put(tmp_path, "txt/id12/x/00001.txt")
    put(tmp_path, "txt/id00012/short/00001.txt", track(rows))
    source = VoxCeleb2(str(tmp_path))
    clips = read(source)
    assert [clip.source_key for clip in clips] == [f"youtube:{ID}/id00012/{ID}/0000{n}" for n in (1, 2)]
    assert {(clip.start_ms, clip.end_ms) for clip in clips} == {(4000, 4080)}
    assert clips[0].face_box_px == pytest.approx((0.0, 0.2, 0.4, 0.7))
    assert sorted(places(source)) == sorted(
        [f"{base}/00002.txt:{n}" for n in (10, 11, 12, 13, 14)]
        + [f"{base}/00003.txt:2", f"{base}/00004.txt:8", f"{base}/00005.txt:1", "txt/id12", "txt/id00012/short"]
    )
    assert source.report().n_named == 5


def test_voxceleb_crops_with_and_without_tracks(tmp_path):
    put(tmp_path, f"dev/txt/id00012/{ID}/00001.txt", track("000100 0.1 0.2 0.3 0.4\n"))
    put(tmp_path, f"dev/txt/id00012/{ID}/00003.txt", track("000300 0.1 0.2 0.3 0.4\n"))
    for name in (f"dev/mp4/id00012/{ID}/00001.mp4", f"dev/mp4/id00012/{ID}/00002.mp4", f"test/mp4/id00012/{ID}/00001.mp4"):
        put(tmp_path, name)
    source = VoxCeleb2(str(tmp_path))
    clips = read(source)
    assert [clip.source_key for clip in clips] == [
        f"youtube:{ID}@4000-4040/id00012/{ID}/00001",
        f"youtube:{ID}@?/id00012/{ID}/00002",
        f"youtube:{ID}@12000-12040/id00012/{ID}/00003",
    ]
    assert {(clip.start_ms, clip.end_ms, clip.face_box_px) for clip in clips} == {(0, None, None)}
    assert source.report().missing == (str(tmp_path / f"dev/mp4/id00012/{ID}/00003.mp4"),)
    assert places(source) == [f"test/mp4/id00012/{ID}/00001.mp4"]
    put(tmp_path, f"videos/{ID}.mkv")  # the whole videos are preferred once they are there
    assert [clip.video_path for clip in read(VoxCeleb2(str(tmp_path)))] == [str(tmp_path / f"videos/{ID}.mkv")] * 2


def test_voxceleb_meta(tmp_path):
    put(tmp_path, f"txt/id10001/{ID}/00001.txt", track("000100 10 20 30 40\n").replace("id00012", "id10001"))
    put(tmp_path, f"txt/id10009/{ID}/00001.txt", track("000100 10 20 30 40\n").replace("id00012", "id10009"))
    head = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    put(
        tmp_path,
        "vox1_meta.csv",
        head + "id10001\tA\tm\tIreland\tdev\nid10002\tB\tm\nid10001\tA\tm\tIreland\ttest\n../x\tA\tm\tIreland\tdev\n",
    )
    source = VoxCeleb1(str(tmp_path))
    assert [clip.identity for clip in read(source)] == ["id10001"]
    assert places(source) == ["vox1_meta.csv:3", "vox1_meta.csv:4", "vox1_meta.csv:5", "txt/id10009"]


def test_casual_conversations_entries(tmp_path):
    files = [
        "CasualConversationsA/1140/1140_00.MP4",
        "../../etc/passwd",
        "/etc/passwd",
        "A/../../b.MP4",
        7,
        "CasualConversationsA/1140/1140_00.MP4",
    ]
    members = [f'"1140": {json.dumps({"files": files})}', '"x": {"files": []}', '"1141": 3', '"7": {"files": ["A/0007/0007_00.MP4"]}']
    put(tmp_path / "1", "CC_annotations/CasualConversations.json", "{" + ",\n".join(members))  # and no end
    put(tmp_path / "1", files[0])
    one = CasualConversations1(str(tmp_path / "1"))
    assert [(clip.source_key, clip.identity) for clip in read(one)] == [(files[0], "ccv1:1140"), ("A/0007/0007_00.MP4", "ccv1:0007")]
    assert places(one) == ["CasualConversations.json:1"] * 5 + [f"CasualConversations.json:{n}" for n in (2, 3, 4)]
    assert one.report().missing == (str(tmp_path / "1/A/0007/0007_00.MP4"),)

    good = {"video_name": "0000_portuguese_nonscripted_1.mp4", "subject_id": "0000"}
    bad = [
        {**good, "video_name": "../0000_x.mp4"},
        {**good, "subject_id": "0001"},
        {"subject_id": "0000"},
        3,
        good,
        {**good, "video_name": "x.mp4"},
    ]
    put(tmp_path / "2", "annotations/CasualConversationsV2.json", "[" + ",\n".join(map(json.dumps, [good, *bad])) + "]")
    put(tmp_path / "2", "CCv2_frames_part_1/0000_portuguese_nonscripted_1.mp4")  # archives of frames are passed over
    put(tmp_path / "2", "CCv2_part_1/0000/0000_portuguese_nonscripted_1.mp4")
    two = CasualConversations2(str(tmp_path / "2"))
    (clip,) = read(two)
    assert clip.video_path == str(tmp_path / "2/CCv2_part_1/0000/0000_portuguese_nonscripted_1.mp4")
    assert places(two) == [f"CasualConversationsV2.json:{n}" for n in range(2, 8)]


@given(st.text(alphabet="a./\\ \x00é\ud800~", max_size=20))
def test_no_path_leaves_the_folder(text):
    try:
        path = relative_path(text)
    except ValueError:
        return
    assert os.path.normpath(f"/folder/{path}").startswith("/folder/")
    path.encode()


NUMBERS = st.lists(st.integers(-5, 3000).map(str) | st.text(max_size=3), min_size=7, max_size=9)


@given(st.sampled_from([f"{ID}_0000", f"{ID}_x", "../..", "", ID]), NUMBERS)
@settings(max_examples=200, deadline=None)
def test_any_line_is_a_tube_or_a_mistake(name, numbers):
    try:
        tube = parse_tube(", ".join([name, *numbers]))
    except ValueError:
        return
    assert 0 <= tube.first <= tube.last
    assert tube.box_px[0] < tube.box_px[2]
    assert tube.box_px[1] < tube.box_px[3]
    assert "/" not in tube.name


@pytest.mark.parametrize(
    ("cls", "tree", "message"),
    [
        (VoxCeleb1, {}, "docs/datasets.md"),
        (VoxCeleb2, {"use": "clip"}, "did you mean 'clips'"),
        (VoxCeleb2, {"subset": "tset"}, "did you mean 'test'"),
        (TalkingHead1KH, {}, "no \\*_video_tubes.txt"),
        (TalkingHead1KH, {"sets": ["big"]}, "small"),
        (TalkingHead1KH, {"fps": float("nan")}, "fps"),
        (MultiTalk, {}, "annotations"),
        (HDTF, {"groups": ["XX"]}, "RD, WDA, WRA"),
        (HDTF, {}, "docs/datasets.md"),
        (CasualConversations1, {}, "CasualConversations.json"),
        (CasualConversations2, {}, "CasualConversationsV2.json"),
    ],
)
def test_mistakes_of_the_user_are_one_line(tmp_path, cls, tree, message):
    with pytest.raises(UserError, match=message):
        build(cls, {"root": str(tmp_path), **tree})
    with pytest.raises(UserError, match="no directory"):
        build(cls, {"root": str(tmp_path / "nowhere")})
