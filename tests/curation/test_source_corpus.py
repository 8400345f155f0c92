"""Adapters against the real index samples. The expected entries were read off the files by hand, not produced by the adapters."""

from pathlib import Path

import pytest

from curation.contracts import Clip
from curation.sources.casual_conversations import CasualConversations1, CasualConversations2
from curation.sources.hdtf import HDTF
from curation.sources.multitalk import MultiTalk
from curation.sources.talkinghead1kh import TalkingHead1KH
from curation.sources.voxceleb import VoxCeleb1, VoxCeleb2

pytestmark = pytest.mark.corpus


@pytest.fixture
def index(corpus):
    folder = corpus / "sources"
    if not folder.is_dir():
        pytest.skip("the corpus holds no index samples")
    return folder


def by_name(clips: list[Clip]) -> dict[str, Clip]:
    """Clips by the part of their key that the data set itself would call them; every key is used once."""
    found = {clip.source_key.split("/", 1)[1]: clip for clip in clips}
    assert len(found) == len({clip.clip_id for clip in clips}) == len(clips)
    return found


def facts(clip: Clip) -> tuple:
    return clip.identity, clip.start_ms, clip.end_ms, clip.face_box_px, clip.face_box_width_px, clip.face_box_height_px


def test_hdtf(index):
    source = HDTF(str(index / "hdtf"))
    clips = list(source.clips())
    found = by_name(clips)
    assert len([name for name in found if name.startswith("RD/")]) == 66
    assert len([name for name in found if name.startswith("WDA/")]) == 195
    assert len([name for name in found if name.startswith("WRA/")]) == 175
    # 00:20-01:45; 418 446 17 446; 720
    assert facts(found["RD/Radio8_0"]) == ("Radio", 20_000, 105_000, (418.0, 17.0, 864.0, 463.0), None, 720.0)
    # third of 00:45-01:20 01:40-02:05 03:30-04:25; 588 707 0 707; 1080
    assert facts(found["WDA/XavierBecerra_2"]) == ("XavierBecerra", 210_000, 265_000, (588.0, 0.0, 1295.0, 707.0), None, 1080.0)
    # third of 00:40-01:20 02:00-02:40 03:30-03:50; 396 465 32 465; 720
    assert facts(found["WRA/AdamKinzinger2_2"]) == ("AdamKinzinger", 210_000, 230_000, (396.0, 32.0, 861.0, 497.0), None, 720.0)
    # 00:10-01:50; 199 240 24 240; 360
    assert facts(found["WDA/DanKildee_0"]) == ("DanKildee", 10_000, 110_000, (199.0, 24.0, 439.0, 264.0), None, 360.0)
    # 00:35-00:45; no crop
    assert facts(found["RD/Radio15_0"]) == ("Radio", 35_000, 45_000, None, None, None)
    # 00:02-01:20; 1213 1455 0 1455; 2160
    assert facts(found["RD/Radio56_0"]) == ("Radio", 2_000, 80_000, (1213.0, 0.0, 2668.0, 1455.0), None, 2160.0)
    assert found["RD/Radio56_0"].source_key == "youtube:_NIUdiGXvT8/RD/Radio56_0"
    assert found["WDA/DanKildee_0"].source_key == "youtube:FQZCs0pSjNg/WDA/DanKildee_0"
    assert sum(clip.source_key.startswith("youtube:RApGxN-O9Qc/WDA/CarolynMaloney2_") for clip in clips) == 1  # behind the byte-order mark
    report = source.report()
    assert (report.n_named, len(report.missing)) == (436, 56 + 183 + 130)
    # the lists give these pictures a height that their crop does not fit
    assert [line.split(": ")[0] for line in report.malformed] == [
        "WDA_crop_wh.txt:126",
        "WDA_crop_wh.txt:135",
        "WRA_crop_wh.txt:102",
        "WRA_crop_wh.txt:103",
        "WRA_crop_wh.txt:138",
    ]


def test_multitalk(index):
    source = MultiTalk(str(index / "multitalk"))
    clips = list(source.clips())
    found = by_name(clips)
    assert (len(clips), source.report().n_named, source.report().malformed) == (900, 900, ())
    video = "youtube:xVx-pK8_J7c"
    assert facts(found["english/xVx-pK8_J7c_0"]) == (video, 240, 5160, (0.3292, 0.0389, 0.6125, 0.4352), 1.0, 1.0)
    assert facts(found["english/xVx-pK8_J7c_1"]) == (video, 56_000, 60_600, (0.3354, 0.0176, 0.6792, 0.3954), 1.0, 1.0)
    assert facts(found["mandarin/lZAJQ90lQZc_0"])[1:4] == (79_360, 81_800, (0.1505, 0.0, 0.7427, 0.9472))
    assert facts(found["mandarin/lZAJQ90lQZc_1"])[1:4] == (221_000, 231_520, (0.1594, 0.0, 0.8807, 1.0))
    assert facts(found["italian/aVS_14WkIOo_0"])[1:4] == (533_680, 542_360, (0.118, 0.0, 0.5734, 0.7167))
    assert facts(found["italian/DyAbyPbF3Nw_2"])[1:4] == (531_680, 537_680, (0.2906, 0.0, 0.6891, 0.6153))
    assert found["english/xVx-pK8_J7c_0"].face_box_in(1920, 1080) == pytest.approx((632.064, 42.012, 1176.0, 470.016))
    italian = MultiTalk(str(index / "multitalk"), languages=("italian",))
    assert next(italian.clips()).source_key == "youtube:aVS_14WkIOo/italian/aVS_14WkIOo_0"


def test_talkinghead1kh(index):
    source = TalkingHead1KH(str(index / "talkinghead1kh"), fps=25.0)
    clips = list(source.clips())
    found = by_name(clips)
    assert (len(clips), source.report().n_named, source.report().malformed) == (7684 + 38, 7722, ())
    first = found["--Y9imYnfBw_0000_S0_E271_L504_T63_R792_B351"]
    # frames 0..271 inclusive, 40 ms each
    assert facts(first) == ("youtube:--Y9imYnfBw", 0, 10_880, (504.0, 63.0, 792.0, 351.0), 1280, 720)
    assert first.source_key.startswith("youtube:--Y9imYnfBw@0-60000/")
    tube = found["-UrrtxGsmoU_0035_S55_E111_L413_T123_R765_B475"]
    assert facts(tube) == ("youtube:-UrrtxGsmoU", 2200, 4480, (413.0, 123.0, 765.0, 475.0), 1280, 720)
    assert tube.source_key.startswith("youtube:-UrrtxGsmoU@2100000-2160000/")
    assert Path(tube.video_path).parts[-3:] == ("train", "1min_clips", "-UrrtxGsmoU_0035.mp4")
    tube = found["04WJEEb33CY_0003_S213_E258_L1104_T133_R1264_B405"]
    assert facts(tube)[1:4] == (8520, 10_360, (1104.0, 133.0, 1264.0, 405.0))
    tube = found["1lSejjfNHpw_0075_S728_E1456_L671_T47_R1471_B847"]
    assert facts(tube) == ("youtube:1lSejjfNHpw", 29_120, 58_280, (671.0, 47.0, 1471.0, 847.0), 1920, 1080)
    tube = found["npEcenV-Y08_0011_S99_E1087_L625_T69_R1425_B869"]
    assert facts(tube)[1:4] == (3960, 43_520, (625.0, 69.0, 1425.0, 869.0))
    # three faces at the same time are three clips
    together = [name for name in found if name.startswith("-8lgFak3RwU_0001_S0_E90_")]
    assert sorted(together) == [
        f"-8lgFak3RwU_0001_S0_E90_{box}" for box in ("L255_T0_R863_B464", "L647_T146_R999_B498", "L876_T329_R1164_B617")
    ]
    small = TalkingHead1KH(str(index / "talkinghead1kh"), sets=("small",), fps=25.0)
    assert [clip.end_ms - clip.start_ms for clip in small.clips()] == [10_880, 3720, 16_240, 2680]


def lay_out(root: Path, index: Path, version: int) -> Path:
    """The excerpt where the data set would have it, and the meta file."""
    excerpt = next((index / "voxceleb" / "txt_excerpts").glob(f"vox{version}_*"))
    identity, video = {1: ("id10661", "lSI69L4DidQ"), 2: ("id00012", "_raOc3-IRsw")}[version]
    folder = root / "txt" / identity / video
    folder.mkdir(parents=True)
    (folder / "00001.txt").write_bytes(excerpt.read_bytes())
    (root / f"vox{version}_meta.csv").write_bytes((index / "voxceleb" / f"vox{version}_meta.csv").read_bytes())
    return root


def test_voxceleb1(index, tmp_path):
    source = VoxCeleb1(str(lay_out(tmp_path, index, 1)))
    (clip,) = source.clips()
    # frames 2316..2319 at 25 frames a second; boxes 223 80 130 130 (twice), 218 75 130 130, 213 71 130 130
    assert facts(clip) == ("id10661", 92_640, 92_800, (213.0, 71.0, 353.0, 210.0), None, None)
    assert clip.source_key == "youtube:lSI69L4DidQ/id10661/lSI69L4DidQ/00001"
    report = source.report()
    assert report.malformed == ()
    assert report.n_named == 1 + 1250  # the utterance, and the speakers without tracks
    missing = [Path(line.split(" (")[0]).name for line in report.missing]
    assert missing[0] == "lSI69L4DidQ.mp4"
    assert {"id10001", "id10270", "id11251"} <= set(missing)
    assert len(missing) == 1251
    test = VoxCeleb1(str(tmp_path), subset="test")  # id10661 is in dev
    assert list(test.clips()) == []
    assert len(test.report().missing) == 40


def test_voxceleb2(index, tmp_path):
    source = VoxCeleb2(str(lay_out(tmp_path, index, 2)))
    (clip,) = source.clips()
    # frames 349, 350; 0.319 0.067 0.424 0.753 in parts of the picture
    assert facts(clip)[:3] == ("id00012", 13_960, 14_040)
    assert clip.face_box_px == pytest.approx((0.319, 0.067, 0.743, 0.820))
    assert clip.face_box_in(1000, 500) == pytest.approx((319.0, 33.5, 743.0, 410.0))
    assert source.report().malformed == ()
    assert len(source.report().missing) == 1 + 6113
    test = VoxCeleb2(str(tmp_path), subset="test")  # id00012 is in dev; the blanks behind the fields do not matter
    assert list(test.clips()) == []
    assert len(test.report().missing) == 120
    assert f"{tmp_path}/txt/id00017 (a speaker in vox2_meta.csv)" in test.report().missing


def test_voxceleb2_crop(corpus, tmp_path):
    folder = tmp_path / "test" / "mp4" / "id04030" / "7mXUMuo5_NE"
    folder.mkdir(parents=True)
    (folder / "00002.mp4").symlink_to(corpus / "clips" / "vox2_id04030_7mXUMuo5_NE_00002.mp4")
    source = VoxCeleb2(str(tmp_path))
    (clip,) = source.clips()
    assert facts(clip) == ("id04030", 0, None, None, None, None)
    assert clip.source_key == "youtube:7mXUMuo5_NE@?/id04030/7mXUMuo5_NE/00002"
    assert clip.video_path == str(folder / "00002.mp4")
    assert source.report().missing == ()


def test_casual_conversations(index, tmp_path):
    v1, v2 = tmp_path / "v1", tmp_path / "v2"
    for folder, name, sample in ((v1, "CC_annotations", "v1_schema_SYNTHETIC.json"), (v2, "annotations", "ccv2_record_EXCERPT.json")):
        (folder / name).mkdir(parents=True)
        stem = "CasualConversations" if folder == v1 else "CasualConversationsV2"
        (folder / name / f"{stem}.json").write_bytes((index / "casual_conversations" / sample).read_bytes())
    one, two = CasualConversations1(str(v1)), CasualConversations2(str(v2))
    assert [(clip.source_key, clip.identity, clip.start_ms, clip.end_ms) for clip in one.clips()] == [
        ("CasualConversationsA/1140/1140_00.MP4", "ccv1:1140", 0, None),
        ("CasualConversationsA/1140/1140_02.MP4", "ccv1:1140", 0, None),
        ("CasualConversationsA/1226/1226_14.MP4", "ccv1:1226", 0, None),
    ]
    assert [(clip.source_key, clip.identity) for clip in two.clips()] == [("0000_portuguese_nonscripted_1.mp4", "ccv2:0000")]
    assert (len(one.report().missing), len(two.report().missing)) == (3, 1)
