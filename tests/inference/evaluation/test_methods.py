"""Folders of methods, and the paper's figures."""

import math
from pathlib import Path

import pytest

from inference.evaluation.methods import published, read_method, write_method
from manifests import UserError


def test_a_folder_needs_nothing_but_videos(tmp_path: Path) -> None:
    folder = tmp_path / "Their Method"
    folder.mkdir()
    for name in ("a.mp4", "c.MKV", "readme.txt", ".hidden.mp4"):
        (folder / name).write_bytes(b"")
    read = read_method(folder, ["a", "b"])
    assert read.method.name == "Their Method"
    assert math.isnan(read.method.parameters_b)
    assert read.videos == {"a": folder / "a.mp4"}
    assert read.missing == ("b",)
    assert read.extra == ("c.MKV",)


def test_method_yaml_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "method.yaml").write_text("name: EchoMimic\nparameters_b: 2.1\nsignal: video+audio\nnotes: {steps: 30}\n")
    method = read_method(tmp_path, ["a"]).method
    assert (method.name, method.parameters_b, method.signal, method.notes) == ("EchoMimic", 2.1, "video+audio", {"steps": 30})


def test_modality_is_another_word_for_signal(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "method.yaml").write_text("name: Ours\nmodality: A+V\n")
    method = read_method(tmp_path, ["a"]).method
    assert (method.signal, method.modality) == ("video+audio", "A+V")
    write_method(method, tmp_path)
    assert read_method(tmp_path, ["a"]).method == method


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("signal: smell", "must be one of"),
        ("[1]", "needs a mapping"),
        ("a: b: c", "not YAML"),
        ("signl: audio", "did you mean 'signal'"),
        ("parameters_b: many", "positive number"),
        ("notes: 3", "needs a mapping"),
        ("modality: B", "must be one of A, V, A\\+V"),
        ("modality: A\nsignal: video", "leave one out"),
    ],
)
def test_bad_method_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "method.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_method(tmp_path, ["a"])


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no directory"):
        read_method(tmp_path / "none", ["a"])
    with pytest.raises(UserError, match="holds no video"):
        read_method(tmp_path, ["a"])
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.mov").write_bytes(b"")
    with pytest.raises(UserError, match="two videos"):
        read_method(tmp_path, ["a"])


def test_the_papers_rows() -> None:
    rows = published()
    assert len(rows) == 12
    assert rows["MegActor-Σ A+V"]["hdtf"] == {"fid": 31.497, "fvd": 302.87, "lpips": 0.0812, "sync_c": 6.8226, "sync_d": 8.1026}
    assert rows["SadTalker"]["hdtf"] == {}
    assert all(row["signal"] in ("audio", "video", "video+audio") for row in rows.values())
