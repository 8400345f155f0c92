"""The report against direct counts, hostile text, and manifests that hold nothing to draw."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
from report_runs import CONFIG, Page, failed, random_frame, row, write_run

import manifests
from curation.report import write_report
from curation.report.gallery import MOST_TILES
from manifests import UserError

HOSTILE = "<script>alert('x')</script>\n\"quoted\" & <img src=x onerror=alert(1)>\u202e\x1b[31m.mp4"


def page_of(folder, rows, **options) -> Page:
    return Page(write_report(write_run(folder, rows), **options))


def unnested(text: str) -> str:
    return re.sub(r"\s+", "", text)


class TestSelfContained:
    def test_no_request_leaves_the_page(self, tmp_path):
        page = page_of(tmp_path, random_frame(400))
        assert "script" not in {tag for tag, _ in page.tags}
        for tag, attrs in page.tags:
            for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                if name in attrs:
                    assert attrs[name].startswith(("data:", "#")), (tag, attrs)
            assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL).group(1)
        assert "url(" not in style
        assert "@import" not in style
        assert "prefers-color-scheme: dark" in style
        policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy

    def test_hostile_text_stays_text(self, tmp_path):
        rows = [row(0, source_key=HOSTILE), row(1, source=HOSTILE, source_key="a.mp4", lipsync_conf=0.01)]
        rows += [failed(2, "not_a_video", HOSTILE, source_key=HOSTILE + "2"), row(3, code_version=HOSTILE, n_cuts=2)]
        page = page_of(tmp_path, rows)
        assert "script" not in {tag for tag, _ in page.tags}
        assert not [attrs for tag, attrs in page.tags if tag == "img"]
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        # It is shown, with what cannot be printed as escapes.
        shown = "<script>alert('x')</script>\\n\"quoted\" & <img src=x onerror=alert(1)>\\u202e\\x1b[31m.mp4"
        for section in ("accepted", "failures", "survival"):
            assert unnested(shown)[:20] in unnested(page.text(section)), section
        assert shown in page.text("failures")
        assert "\u202e" not in page.source
        assert "\x1b" not in page.source

    def test_same_run_same_bytes(self, tmp_path):
        folder = write_run(tmp_path, random_frame(3_000))
        first = write_report(folder).read_bytes()
        assert write_report(folder).read_bytes() == first


class TestNumbers:
    def test_head_and_failures(self, tmp_path):
        rows = [row(i) for i in range(6)] + [row(6, head_rotation_deg=50.0), failed(7, "empty_file", "0 bytes")]
        page = page_of(tmp_path, rows)
        text = page.text()
        assert "8 clips 28 s of footage" in text
        assert "75 % accepted 6 clips, 24 s" in text
        assert "1 failed 12 % of the clips" in text
        assert "4× real time a worker" in text  # 1 s of work for each 4 s clip
        assert f"empty_file 1 {manifests.ERROR_KINDS['empty_file']}" in page.text("failures")
        assert "0 bytes" in page.text("failures")

    def test_wall_clock_of_the_last_session(self, tmp_path):
        import yaml

        folder = write_run(tmp_path, [row(i) for i in range(10)])
        session = {"clips": 10, "media_s": 40.0, "elapsed_s": 5.0}
        (folder / "run.yaml").write_text(yaml.safe_dump({**CONFIG, "n_shards": 1, "last_session": session}))
        assert "2 clips a second 8× real time; 10 clips in 5 s" in Page(write_report(folder)).text()

    def test_survival_equals_a_direct_count(self, tmp_path):
        frame = random_frame(2_500)
        page = page_of(tmp_path, frame)
        passes = [
            frame["status"] == "scored",
            frame["has_audio"].fillna(False).astype(bool),
            frame["duration_ms"] >= 1000,
            frame["valid_frame_ratio"].astype("float32") >= np.float32(0.9),
            (frame["n_faces_max"] <= 1).fillna(False).astype(bool),
            (frame["n_cuts"] == 0).fillna(False).astype(bool),
            frame["face_size_px_p5"] >= 100,
            frame["head_rotation_deg"] <= 30,
            frame["speech_ratio"] >= 0.2,
            frame["lipsync_conf"].astype("float32") >= np.float32(0.1),
            (frame["lipsync_offset_frames"].abs() <= 3).fillna(False).astype(bool),
        ]
        alone = [int((passes[0] & one).sum()) for one in passes]
        left = [int(np.logical_and.reduce(passes[: k + 1]).sum()) for k in range(len(passes))]
        titles = [attrs["title"] for attrs in page.with_class("step")]
        assert titles == [f"alone {a:,}, cumulative {b:,} of 2,500 clips" for a, b in zip(alone, left, strict=True)]
        assert left[-1] == int(manifests.apply(manifests.load(tmp_path), "embedded")["accepted"].sum())
        # The table by source: first column after the hours is the share that could be scored.
        for name, group in frame.groupby("source"):
            share = 100 * (group["status"] == "scored").mean()
            assert re.search(rf"{name} {len(group):,} [\d hminS]+s? {share:.0f} %", page.text("survival")), name

    def test_every_reason_is_shown_with_its_count(self, tmp_path):
        rows = [row(i) for i in range(3)] + [
            row(10, has_audio=False, speech_ratio=None, lipsync_conf=None, lipsync_offset_frames=None),
            row(11, duration_ms=500.0),
            row(12, valid_frame_ratio=0.2, n_faces_max=2),
            row(13, n_cuts=1),
            row(14, face_size_px_p5=40.0),
            row(15, face_size_px_p5=None, head_rotation_deg=None),
            row(16, head_rotation_deg=44.0),
            row(17, speech_ratio=0.0),
            row(18, lipsync_conf=0.02, lipsync_offset_frames=-9),
            failed(19, "truncated", "ends early"),
        ]
        page = page_of(tmp_path, rows)
        judged = manifests.apply(manifests.load(tmp_path), "embedded")
        counts = pd.Series([reason for reasons in judged["reject_reasons"] for reason in reasons]).value_counts()
        assert len(counts) == 16
        for reason, n in counts.items():
            assert f"{reason} {n} " in page.text("survival"), reason
            assert reason.startswith("failed:") or reason in page.text("rejected"), reason

    def test_histogram_counts_equal_numpy(self, tmp_path):
        frame = random_frame(3_000)
        page = page_of(tmp_path, frame)
        drawn = {}
        for match in re.finditer(r'data-columns="(\w+)">(.*?)</figure>', page.source, re.DOTALL):
            titles = re.findall(r"<title>(source\d): ([\d,]+) clips, ", match.group(2))
            drawn[match.group(1)] = [(name, int(n.replace(",", ""))) for name, n in titles]
        scored = frame[frame["status"] == "scored"]
        by_count = scored["source"].value_counts().index
        for column, edges in {
            "speech_ratio": np.linspace(0, 1, 31),
            "lipsync_offset_frames": np.arange(-15.5, 16),
            "n_cuts": np.array([-0.5, 0.5, 1.5]),
        }.items():
            values = scored[column].astype("float32").astype(float)
            counts = {name: np.histogram(values[scored["source"] == name].dropna(), edges)[0] for name in by_count}
            expected = [(name, int(counts[name][i])) for i in range(len(edges) - 1) for name in by_count if counts[name][i]]
            assert drawn[column] == expected, column
        for column, bars in drawn.items():
            if column in scored:
                assert sum(n for _, n in bars) == scored[column].notna().sum(), column

    def test_share_beyond_a_threshold(self, tmp_path):
        rows = [row(i, head_rotation_deg=angle) for i, angle in enumerate([1.0, 20.0, 30.0, 30.5, 80.0])] + [row(9, head_rotation_deg=None)]
        assert "5 of 6 clips have a value head_rotation_deg <= 30: 2 beyond (40 %)" in page_of(tmp_path, rows).text("metrics")

    def test_scatter_says_that_it_samples(self, tmp_path):
        page = page_of(tmp_path, random_frame(6_000))
        assert "a random sample of 2,000 of" in page.text("pairs")
        dots = sum(tag == "circle" for tag, _ in page.tags)
        assert dots == 3 * 2_000

    def test_time_per_stage(self, tmp_path):
        page = page_of(tmp_path, [row(i) for i in range(3)])
        assert "decode 0.9 s 75 ms 30 %" in page.text("time")
        assert "landmarks 1.8 s 150 ms 60 %" in page.text("time")
        assert "lip sync 0.3 s 25 ms 10 %" in page.text("time")

    def test_empty_columns_say_why(self, tmp_path):
        text = page_of(tmp_path, [row(0)]).text("empty")
        syncnet = "sync_c sync_d av_offset_frames sync_windows sync_track_ratio sync_c_runner_up sync_tracks sync_track_scores"
        assert f"{syncnet} scorer syncnet did not run in the embedded profile" in text
        assert "error_kind error_message no clip failed" in text


class TestPresets:
    def test_another_preset_decides_anew(self, tmp_path):
        rows = [row(i, face_width_px=700.0, face_height_px=700.0, sync_c=7.0, sync_d=7.0) for i in range(3)] + [row(5)]
        assert "100 % accepted" in page_of(tmp_path, rows).text()
        page = page_of(tmp_path, rows, preset="paper")
        assert "75 % accepted" in page.text()
        assert "paper – The filter that the MegActor-Σ paper states" in page.text()
        assert "Sync-C" in page.text("metrics")

    def test_unknown_preset(self, tmp_path):
        with pytest.raises(UserError, match="did you mean 'paper'"):
            page_of(tmp_path, [row(0)], preset="papr")

    def test_manifest_without_a_preset_asks_for_one(self, tmp_path):
        with pytest.raises(UserError, match="--preset"):
            write_report(write_run(tmp_path, [row(0)], {}))
        assert write_report(tmp_path, preset="embedded").exists()


class TestLittleToShow:
    def test_no_rows(self, tmp_path):
        text = page_of(tmp_path, []).text()
        for sentence in (
            "0 clips",
            "No clip has a value to draw.",
            "No clip was accepted.",
            "No scored clip was rejected.",
            "No clip failed.",
        ):
            assert sentence in text

    def test_all_failed(self, tmp_path):
        page = page_of(tmp_path, [failed(i, "timeout", f"decoding took more than {i} s") for i in range(70)])
        assert "70 failed 100 % of the clips" in page.text()
        assert "Messages of 50 of 70 failed clips" in page.text("failures")
        assert "no clip could be scored" in page.text("empty")

    def test_one_row(self, tmp_path):
        assert "100 % accepted" in page_of(tmp_path, [row(0)]).text()

    def test_scored_but_nothing_measured(self, tmp_path):
        nothing = {name: None for name in row(0) if name.endswith(("_px", "_p5", "_deg", "_ratio", "_ms", "_max", "_conf", "_frames"))}
        page = page_of(tmp_path, [row(i, **nothing | {"has_audio": None, "n_cuts": None, "start_ms": 0}) for i in range(4)])
        assert "No clip has a value to draw." in page.text("metrics")
        assert "lip_sync_low:missing 4 100 %" in page.text("survival")

    def test_infinite_and_constant_values(self, tmp_path):
        rows = [row(i, lipsync_conf=value) for i, value in enumerate([float("inf"), 0.3, 0.3])]
        page = page_of(tmp_path, rows)
        assert "2 of 3 clips have a value" in page.text("metrics")
        assert not re.search(r'="[^"]*\b(nan|inf)\b', page.source)

    def test_many_sources_are_folded(self, tmp_path):
        page = page_of(tmp_path, random_frame(3_000, n_sources=100))
        assert "(71 other sources)" in page.text("survival")
        assert "(94 other sources)" in page.text("metrics")

    def test_running_run(self, tmp_path):
        (tmp_path / "ledger").mkdir()
        manifests.write([row(0)], tmp_path / "ledger" / "00000.parquet", CONFIG)
        assert "This run has not finished" in Page(write_report(tmp_path)).text()

    def test_no_run(self, tmp_path):
        with pytest.raises(UserError, match="no manifest"):
            write_report(tmp_path / "absent")


def test_size_stays_bounded(tmp_path):
    long_names = random_frame(20_000, n_sources=50)
    long_names["source_key"] = [f"{'directory/' * 40}{i}.mp4" for i in range(len(long_names))]
    long_names["error_message"] = long_names["error_message"].where(long_names["error_message"].isna(), "m" * 5_000)
    assert write_report(write_run(tmp_path, long_names)).stat().st_size < 2_000_000


class TestGallery:
    def test_middle_frame_with_landmarks(self, tmp_path):
        import cv2

        video = planted_video(tmp_path / 'it\'s "here".mp4')
        good = row(0, video_path=str(video), duration_ms=2000.0)
        points = np.stack(np.meshgrid(np.linspace(40, 100, 17), np.linspace(20, 80, 4)), -1).reshape(1, 68, 2).repeat(50, 0)
        folder = write_run(tmp_path / "run", [good, row(1), row(2, head_rotation_deg=60.0, video_path=str(video), duration_ms=2000.0)])
        (folder / "landmarks").mkdir()
        times = np.arange(50) * 40.0
        manifests.write_landmarks(
            folder / "landmarks" / "00000.parquet", {good["clip_id"]: (times, np.ones(50, int), points, np.ones((50, 68)))}
        )
        page = Page(write_report(folder))
        pictures = [attrs for tag, attrs in page.tags if tag == "img"]
        assert len(pictures) == 2
        data = base64.b64decode(pictures[0]["src"].removeprefix("data:image/jpeg;base64,"))
        rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert rgb.shape == (120, 160, 3)
        # Second half of the clip is green: the frame at 1000 ms or later.
        assert np.abs(rgb.astype(int).mean((0, 1)) - (0, 200, 0)).max() < 12
        overlay = page.with_class("overlay")
        assert [attrs["viewbox"] for attrs in overlay] == ["0 0 160 120"]
        jaw = next(attrs["points"] for tag, attrs in page.tags if tag == "polyline")
        assert jaw.split()[0] == "40.0,20.0"
        assert jaw.split()[-1] == "100.0,20.0"
        assert "no landmarks stored" in page.text("rejected")
        assert "no picture: " in page.text("accepted")

    def test_at_most_so_many_and_every_reason(self, tmp_path):
        rows = [row(i) for i in range(100)] + [row(200 + i, n_cuts=3) for i in range(100)]
        rows += [row(400, head_rotation_deg=70.0), row(401, face_size_px_p5=20.0), row(402, speech_ratio=0.05)]
        page = page_of(tmp_path, rows)
        assert len(page.with_class("is-accepted")) == MOST_TILES
        assert len(page.with_class("is-rejected")) == MOST_TILES
        for reason in ("hard_cut", "head_turned", "face_too_small", "no_speech"):
            assert reason in page.text("rejected")


def planted_video(path):
    """Two seconds of 160x120 px at 25 Hz: one of red, one of green."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for k in range(50):
            rgb = np.zeros((120, 160, 3), np.uint8)
            rgb[:] = (200, 0, 0) if k < 25 else (0, 200, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode(None))
    return path
