"""`train-lipsync` from a manifest to weights, on made-up speakers in real files; and what it says where it cannot."""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from lipsync_footage import speaker

import manifests
from curation.lipsync.footage import collect_footage
from curation.lipsync.towers import load_towers
from curation.lipsync.train import deal_identities, train_lipsync
from curation.samples.encode import write_mp4

N_FRAMES = 110


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curation run of four people, of whom one has two clips, and a clip without sound."""
    return write_run(tmp_path_factory.mktemp("run"), enumerate("abccde"))


def write_run(folder: Path, speakers: Iterable[tuple[int, str]]) -> Path:
    """A run with a clip of each (number, person); `e` is silent."""
    rows, landmarks = [], {}
    for number, person in speakers:
        points, audio = speaker(number, N_FRAMES)
        path = folder / f"{number}.mp4"
        silent = person == "e"
        write_mp4(path, (np.full((64, 64, 3), 8 * i % 256, np.uint8) for i in range(N_FRAMES)), None if silent else audio)
        clip_id = manifests.clip_id("folder", path.name, 0, None)
        rows.append(
            {"clip_id": clip_id, "source": "folder", "source_key": path.name, "identity": person, "video_path": str(path), "start_ms": 0}
            | {"status": "scored", "has_audio": not silent, "fps": 25.0, "duration_ms": 40 * N_FRAMES, "split": "train", "attempts": 1}
        )
        frames = np.arange(N_FRAMES)
        landmarks[clip_id] = (frames * 40.0, np.ones(N_FRAMES, np.int16), points, np.ones((N_FRAMES, 68), np.float32))
    manifests.write(rows, folder / "manifest.parquet", {})
    (folder / "landmarks").mkdir()
    manifests.write_landmarks(folder / "landmarks" / "00000.parquet", landmarks)
    return folder


def test_from_manifest_to_weights_and_again_from_what_was_kept(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lines: list[str] = []
    text = train_lipsync(run, tmp_path, folds=2, steps=4, progress=lines.append)
    towers = load_towers(tmp_path / "landmark_sync.safetensors")
    report = json.loads((tmp_path / "report.json").read_text())
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert towers.name in text
    assert towers.name in card
    assert report["footage"]["clips"] == 5
    assert report["footage"]["identities"] == 4
    judged = report["cross_validation"]["results"]
    assert sorted(r["key"] for r in judged) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"]
    assert any("features 5/5" in line for line in lines)
    assert any("ETA" in line for line in lines)

    again: list[str] = []
    train_lipsync(run / "manifest.parquet", tmp_path, folds=2, steps=4, progress=again.append)
    assert again == []  # nothing was computed a second time
    assert load_towers.__wrapped__(tmp_path / "landmark_sync.safetensors").name == towers.name


def test_a_further_run_is_learnt_from_and_not_judged(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    further = write_run(tmp_path, [(7, "f"), (8, "g")])
    both = {"folds": 2, "steps": 4, "progress": lambda text: None}
    train_lipsync(run, tmp_path / "both", also=[further], **both)
    report = json.loads((tmp_path / "both" / "report.json").read_text())
    assert report["footage"]["clips"] == 7
    assert report["footage"]["manifests"] == 2
    assert len(report["cross_validation"]["results"]) == 5


def test_cached_features_are_those_of_the_files_and_damage_is_repaired(run: Path, tmp_path: Path) -> None:
    fresh = collect_footage(run, "", tmp_path, lambda text: None)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"damaged")
    again = collect_footage(run, "identity != 'a'", tmp_path, lambda text: None)
    assert [c.identity for c in fresh if c.identity != "a"] == [c.identity for c in again]
    by_id = {clip.clip_id: clip for clip in fresh}
    for clip in again:
        np.testing.assert_array_equal(clip.mel, by_id[clip.clip_id].mel)
        np.testing.assert_array_equal(clip.mouth, by_id[clip.clip_id].mouth)
        assert clip.n_frames == N_FRAMES


def test_what_cannot_be_trained_on_is_said_in_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    for settings, says in (
        ({"where": "identity == 'nobody'"}, "no scored clip"),
        ({"where": "colour > 3"}, "query"),
        ({"folds": 9}, "too few"),
        ({"where": "identity in ('a', 'b')", "folds": 5}, "too few"),
    ):
        with pytest.raises(manifests.UserError, match=says) as error:
            train_lipsync(run, tmp_path, **({"folds": 0, "steps": 1, "progress": lambda text: None} | settings))
        assert "\n" not in str(error.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(manifests.UserError, match=r"make setup-train"):
        train_lipsync(run, tmp_path)


def test_identities_are_dealt_evenly_and_whole() -> None:
    people = [f"person {n}" for n in range(23)]
    folds = deal_identities(people, 5)
    assert sorted(len(fold) for fold in folds) == [4, 4, 5, 5, 5]
    assert set.union(*folds) == set(people)
    assert sum(map(len, folds)) == len(people)
    assert deal_identities(people[::-1], 5) == folds
