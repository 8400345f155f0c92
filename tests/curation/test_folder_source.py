import os
import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.contracts import Clip, IndexReport
from curation.sources.folder import Folder
from curation.sources.index_files import MAX_MS
from manifests.errors import UserError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_tree_is_listed_in_a_stable_order_with_keys_that_do_not_depend_on_the_place(tmp_path):
    for base in (tmp_path / "one", tmp_path / "two" / "deep"):
        for name in ("b.mp4", "a/z.MKV", "a/note.txt", ".hidden/c.mp4", "a/.x.mp4"):
            touch(base / name)
    one, two = list(Folder(str(tmp_path / "one")).clips()), list(Folder(str(tmp_path / "two" / "deep")).clips())
    assert [clip.source_key for clip in one] == ["a/z.MKV", "b.mp4"]
    assert [clip.clip_id for clip in one] == [clip.clip_id for clip in two]
    assert [clip.video_path for clip in one] != [clip.video_path for clip in two]


def test_hostile_names_and_loops(tmp_path):
    names = ["with space.mp4", "q\"uo'te.mp4", "new\nline.mp4", "-dash.mp4", "ünï.mp4"]
    for name in names:
        touch(tmp_path / name)
    bad = os.fsencode(tmp_path) + b"/not-\xff-utf8.mp4"
    with open(bad, "wb"):
        pass
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    clips = list(Folder(str(tmp_path)).clips())
    assert len(clips) == len(names) + 2
    keys = {clip.source_key for clip in clips}
    assert set(names) <= keys
    assert "not-\\xff-utf8.mp4" in keys
    for clip in clips:
        clip.source_key.encode("utf-8")
        assert os.path.lexists(clip.video_path)


def test_identity_by_file_or_folder(tmp_path):
    for name in ("ann/1.mp4", "ann/2.mp4", "bob/1.mp4"):
        touch(tmp_path / name)
    assert len({clip.identity for clip in Folder(str(tmp_path)).clips()}) == 3
    assert [clip.identity for clip in Folder(str(tmp_path), identity="folder").clips()] == ["ann", "ann", "bob"]


def test_index_rows_become_clips_and_bad_rows_are_reported_by_line(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "index.csv").write_text(
        "path,start_ms,end_ms,identity,face_x0_px,face_y0_px,face_x1_px,face_y1_px\n"
        "a.mp4,0,1000,ann,1,2,3,4\n"
        "a.mp4,1000,,ann,,,,\n"
        "gone.mp4,,,bob,,,,\n"
        "../secret.mp4,,,x,,,,\n"
        "/etc/passwd,,,x,,,,\n"
        "a.mp4,500,400,x,,,,\n"
        "a.mp4,zero,,x,,,,\n"
        "a.mp4,0,1000,again,,,,\n"
        ",,,x,,,,\n"
    )
    source = Folder(str(tmp_path / "index.csv"))
    clips = list(source.clips())
    assert [(clip.source_key, clip.start_ms, clip.end_ms) for clip in clips] == [
        ("a.mp4", 0, 1000),
        ("a.mp4", 1000, None),
        ("gone.mp4", 0, None),
    ]
    assert clips[0].face_box_px == (1.0, 2.0, 3.0, 4.0)
    report = source.report()
    assert report.n_named == 9
    assert [Path(path).name for path in report.missing] == ["gone.mp4"]
    assert [line.split(":")[1] for line in report.malformed] == ["5", "6", "7", "8", "9", "10"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: Folder(str(base / "nowhere")), "does not exist"),
        (lambda base: Folder(str(base / "a.mp4")), "is a file"),
        (lambda base: Folder(str(base), identity="flie"), "did you mean 'file'"),
        (lambda base: list(Folder(str(base / "bad.csv")).clips()), "no column 'path'"),
    ],
)
def test_mistakes(tmp_path, make, message):
    touch(tmp_path / "a.mp4")
    (tmp_path / "bad.csv").write_text("file\nx.mp4\n")
    with pytest.raises(UserError, match=message):
        make(tmp_path)


def indexed(folder: Path, text: str) -> tuple[list[Clip], IndexReport]:
    for name in ("a.mp4", "b.mp4"):
        touch(folder / name)
    (folder / "index.csv").write_text(text)
    source = Folder(str(folder / "index.csv"))
    return list(source.clips()), source.report()


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 10**8)), min_size=1, max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_spans_as_pandas_writes_them_are_whole_numbers(spans):
    rows = pd.DataFrame({"path": "a.mp4", "start_ms": [a for a, _ in spans], "end_ms": [a + n for a, n in spans]})
    gap = pd.DataFrame({"path": ["b.mp4"], "start_ms": [0], "end_ms": [None]})  # turns the whole column into floats
    with tempfile.TemporaryDirectory() as folder:
        clips, report = indexed(Path(folder), pd.concat([rows, gap]).to_csv(index=False))
    wanted = list(dict.fromkeys((a, a + n) for a, n in spans))
    assert [(clip.start_ms, clip.end_ms) for clip in clips] == [
        *((a, b) for a, b in wanted if b <= MAX_MS),
        (0, None),
    ]
    assert len(report.malformed) == len(wanted) - sum(b <= MAX_MS for _, b in wanted)


@pytest.mark.parametrize(
    "header",
    [
        "path, start_ms ,end_ms",
        " path,start_ms, end_ms",
        "Path,START_MS,End_ms",
        "path;start_ms;end_ms",
        "path\tstart_ms\tend_ms",
        "\ufeffpath,start_ms,end_ms",
    ],
)
def test_headers_that_mean_the_columns(tmp_path, header):
    mark = max(",;\t", key=header.count)
    clips, report = indexed(tmp_path, f"{header}\na.mp4{mark} 2000{mark}4000.0\n")
    assert [(clip.source_key, clip.start_ms, clip.end_ms) for clip in clips] == [("a.mp4", 2000, 4000)]
    assert not report.malformed


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("strat_ms", "start_ms"),
        ("start", "start_ms"),
        ("Start Ms", "start_ms"),
        ("start_sec", "start_ms"),
        ("end_time", "end_ms"),
        ("endms", "end_ms"),
        ("identiy", "identity"),
        ("license", "licence"),
        ("xmin", "face_x0_px"),
        ("face_x0", "face_x0_px"),
        ("face_y1px", "face_y1_px"),
        ("begin_ms", "start_ms"),
        ("stop_ms", "end_ms"),
        ("startTime", "start_ms"),
        ("t_end", "end_ms"),
        ("x1", "face_x1_px"),
        ("left", "face_x0_px"),
        ("time_start", "start_ms"),
        ("StartMs", "start_ms"),
        ("start_milliseconds", "start_ms"),
        ("clip_end_s", "end_ms"),
        ("ms_end", "end_ms"),
        ("tend", "end_ms"),
        ("out_ms", "end_ms"),
        ("bbox", "face_x0_px"),
        ("bbox_left", "face_x0_px"),
        ("face_x_0", "face_x0_px"),
        ("face_ymin", "face_y0_px"),
        ("box_width", "face_x1_px"),
    ],
)
def test_a_misspelt_column_is_an_error_that_names_the_right_one(tmp_path, column, meant):
    with pytest.raises(UserError, match=f"{re.escape(repr(column))}.*did you mean '{meant}'"):
        indexed(tmp_path, f"path,{column}\na.mp4,7\n")


@pytest.mark.parametrize(
    "column", ["caption", "in_frame", "trend", "face", "face_score", "offset", "end_credits", "width", "head_roll_deg", "id"]
)
def test_a_column_of_ones_own_is_no_misspelt_one(tmp_path, column):
    clips, report = indexed(tmp_path, f"path,{column}\na.mp4,7\n")
    assert len(clips) == 1
    assert report.notes == (f"index.csv: columns that are not read: {column}",)


@pytest.mark.parametrize("column", ["file", "Video Path", "video_file", "fname", "url", "filepath"])
def test_a_path_by_another_name_is_to_be_renamed(tmp_path, column):
    with pytest.raises(UserError, match=f"has no column 'path'; rename {column!r}"):
        indexed(tmp_path, f"{column}\na.mp4\n")


def test_corners_that_are_counted_from_one_are_named_as_such(tmp_path):
    with pytest.raises(UserError) as told:
        indexed(tmp_path, "path,x1,y1,x2,y2\na.mp4,1,2,300,400\n")
    for column, meant in (("x1", "face_x0_px"), ("y1", "face_y0_px"), ("x2", "face_x1_px"), ("y2", "face_y1_px")):
        assert f"{column!r} (did you mean {meant!r}?)" in str(told.value)


def test_corners_that_are_counted_from_one_of_a_box(tmp_path):
    with pytest.raises(UserError, match=r"'bbox_x1' \(did you mean 'face_x0_px'\?\).*'bbox_x2' \(did you mean 'face_x1_px'\?\)"):
        indexed(tmp_path, "path,bbox_x1,bbox_y1,bbox_x2,bbox_y2\na.mp4,1,2,300,400\n")


@pytest.mark.parametrize(
    ("before", "mark", "surplus"), [("sep=;\n", ";", ""), ('"sep=,"\n', ",", ""), ("\n\n", ",", ""), ("", ",", ",,"), ("", ",", " ,")]
)
def test_what_spreadsheets_add_is_passed_over(tmp_path, before, mark, surplus):
    text = f"{before}path{mark}start_ms{mark}end_ms\na.mp4{mark}2000{mark}4000{surplus}\nb.mp4{mark}x{mark}1\n"
    clips, report = indexed(tmp_path, text)
    assert [(clip.source_key, clip.start_ms, clip.end_ms) for clip in clips] == [("a.mp4", 2000, 4000)]
    (line,) = report.malformed
    assert line.startswith(f"index.csv:{3 + before.count(chr(10))}: start_ms is 'x'")


def test_a_table_that_is_no_text_in_utf_8_says_so(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "index.csv").write_bytes("path,start_ms\na.mp4,0\n".encode("utf-16"))
    with pytest.raises(UserError, match="no text in UTF-8"):
        list(Folder(str(tmp_path / "index.csv")).clips())


def test_columns_of_ones_own_are_named_and_not_read(tmp_path):
    clips, report = indexed(tmp_path, ",path,caption,source,duration_ms\n0,a.mp4,hello,youtube,5\n")
    assert len(clips) == 1
    assert report.notes == ("index.csv: columns that are not read: caption, source, duration_ms",)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("nan,,,,,", "start_ms"),
        (",nan,,,,", "end_ms"),
        (",inf,,,,", "end_ms"),
        (",2000.5,,,,", "2000.5"),
        (",1_000,,,,", "1_000"),
        (",1e99,,,,", "1e99"),
        (",999999999999,,,,", "too long"),
        ("-5,,,,,", "negative"),
        ("9,9,,,,", "empty"),
        (",,nan,1,2,3", "'nan' is no number"),
        (",,3,4,1,2", "face box"),
        (",,1,2,3,", "lacks face_y1_px"),
        (",,0.1,0.2,0.8,0.9", "pixels are wanted"),
        (",,1,2,300,400,surplus", "cells"),
    ],
)
def test_a_strange_value_is_a_named_line(tmp_path, cells, why):
    text = f"path,start_ms,end_ms,face_x0_px,face_y0_px,face_x1_px,face_y1_px\na.mp4,,,,,,\nb.mp4,{cells}\nb.mp4,,,1,2,300,400\n"
    clips, report = indexed(tmp_path, text)
    assert [clip.source_key for clip in clips] == ["a.mp4", "b.mp4"]
    assert clips[1].face_box_px == (1, 2, 300, 400)
    (line,) = report.malformed
    assert line.startswith("index.csv:3: ")
    assert why in line
    assert report.skipped() == "left out: 1 index line"


def test_other_files_are_counted_by_suffix_and_all_known_videos_are_tried(tmp_path):
    videos = [f"clip{suffix}" for suffix in (".gif", ".vob", ".asf", ".f4v", ".ogg", ".m2v", ".MP4")]
    for name in [*videos, "a.srt", "deep/b.SRT", "deep/c.jpg", "README", ".hidden"]:
        touch(tmp_path / name)
    source = Folder(str(tmp_path))
    assert {clip.source_key for clip in source.clips()} == set(videos)
    assert dict(source.report().passed_over) == {".srt": 2, ".jpg": 1, "no suffix": 1}
    assert source.report().skipped() == "left out: 4 other files"


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**7)), min_size=1, max_size=8, unique=True))
@settings(max_examples=30, deadline=None)
def test_spans_as_pandas_writes_them_where_a_comma_is_the_decimal_mark(spans):
    rows = pd.DataFrame({"path": "a.mp4", "start_ms": [float(a) for a, _ in spans], "end_ms": [float(a + n) for a, n in spans]})
    with tempfile.TemporaryDirectory() as folder:
        clips, report = indexed(Path(folder), rows.to_csv(index=False, sep=";", decimal=","))
    assert [(clip.start_ms, clip.end_ms) for clip in clips] == [(a, a + n) for a, n in spans]
    assert not report.malformed


def test_a_comma_before_three_digits_may_mean_thousands_and_is_named(tmp_path):
    clips, report = indexed(tmp_path, "path;start_ms;end_ms\na.mp4;0;2,000\n")
    assert not clips
    assert report.malformed == ("index.csv:2: end_ms is '2,000', no whole number",)


@pytest.mark.parametrize("text", ['path,start_ms\nb.mp4,0\n"a.mp4,0\nb.mp4,1000\n', 'path\nb.mp4\n"a.mp4\nb.mp4\n'])
def test_a_quote_that_is_not_closed_is_named_instead_of_a_missing_file(tmp_path, text):
    clips, report = indexed(tmp_path, text)
    assert [clip.source_key for clip in clips] == ["b.mp4"]
    assert not report.missing
    assert len(report.malformed) == 1
    assert "a quote before it is not closed" in report.malformed[0]


def test_names_in_another_encoding_are_lines_that_say_so(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        touch(tmp_path / name)
    (tmp_path / "index.csv").write_bytes("path,identity\na.mp4,Jürgen\nb.mp4,Ada\n".encode("cp1252"))
    source = Folder(str(tmp_path / "index.csv"))
    assert [clip.identity for clip in source.clips()] == ["Ada"]
    assert source.report().malformed == ("index.csv:2: identity is 'J\\ufffdrgen', no text in UTF-8: save the index as CSV, UTF-8",)


def test_a_box_beside_every_picture_is_named(tmp_path):
    header = "path,face_x0_px,face_y0_px,face_x1_px,face_y1_px"
    clips, report = indexed(tmp_path, f"{header}\na.mp4,-500,10,-400,90\nb.mp4,-5,-5,90,90\n")
    assert [clip.source_key for clip in clips] == ["b.mp4"]
    assert report.malformed == ("index.csv:2: the face box -500, 10, -400, 90 lies beside every picture",)


@pytest.mark.parametrize(
    ("line", "n_cells"), [("b.mp4,1000", 2), ("b.mp4", 1), ("b.mp4,0,1000,ada,CC0,surplus", 6), ('"b.mp4,0,1000,ada"', 1)]
)
def test_a_line_with_too_few_or_too_many_cells_is_named(tmp_path, line, n_cells):
    clips, report = indexed(tmp_path, f"path,start_ms,end_ms,identity,licence\na.mp4,0,1000,ada,\n\n{line}\nb.mp4,,,,\n")
    assert [(clip.source_key, clip.end_ms) for clip in clips] == [("a.mp4", 1000), ("b.mp4", None)]
    assert report.malformed == (f"index.csv:4: {n_cells} cell{'s' * (n_cells > 1)}, but the header names 5 columns",)
    assert report.skipped() == "left out: 1 index line"


@pytest.mark.parametrize("header", ["path,start_ms,", "path,start_ms,,"])
def test_a_delimiter_that_ends_the_header_wants_no_cell(tmp_path, header):
    clips, report = indexed(tmp_path, f"{header}\na.mp4,0\n   \nb.mp4,0,\n")
    assert len(clips) == 2
    assert not report.malformed
