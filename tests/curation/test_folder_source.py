import os
from pathlib import Path

import pytest

from curation.sources.folder import Folder
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
