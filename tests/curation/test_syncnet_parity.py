"""Against the `syncnet-python` package on the same crops, pictures and weights in the published layouts."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import syncnet_peer as peer
import torch
from syncnet_planted import brightness_syncnet, disc_detector, disc_picture, random_s3fd, random_syncnet, talking_crops

from curation.syncnet.clip import score_crops
from curation.syncnet.network import Embedder, SyncNet
from curation.syncnet.s3fd import S3FD, FaceDetector
from curation.syncnet.weights import load_weights
from curation.weights import ModelRefusedError


@pytest.mark.parametrize("seconds", [3, 5, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_scores_equal_those_of_syncnet_python(seconds: int, tmp_path: Path) -> None:
    net = random_syncnet()
    torch.save(net.state_dict(), tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)  # as old as the published file
    crops, audio = talking_crops(25 * seconds, seed=seconds)
    audio = audio[: len(audio) - 300 * (seconds % 2)]  # at odd lengths the sound ends within the last frame
    crops = peer.write_crops(tmp_path / "crops", crops, audio)
    offset, confidence, distance = peer.evaluate(net.state_dict(), tmp_path / "crops")
    score = score_crops(Embedder(load_weights(SyncNet(), tmp_path / "syncnet_v2.model"), windows_at_once=24), crops, audio)
    assert score.offset_frames == offset
    assert score.sync_c == pytest.approx(confidence, abs=1e-3)
    assert score.sync_d == pytest.approx(distance, abs=1e-3)
    assert score.n_windows == len(audio) // 640 - 5
    assert 1 < distance < 100  # a size at which 1e-3 means something


def test_chunks_give_what_the_whole_gives() -> None:
    crops, _ = talking_crops(17)
    whole = Embedder(random_syncnet(), windows_at_once=64).lips(crops)
    parts = Embedder(random_syncnet(), windows_at_once=5).lips(crops)
    assert whole.shape == (13, 1024)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-4)
    assert Embedder(random_syncnet()).lips(crops[:4]).shape == (0, 1024)


@pytest.mark.parametrize("make_net", [random_s3fd, disc_detector])
def test_faces_equal_those_of_syncnet_pythons_s3fd(make_net) -> None:
    net = make_net()
    detectors = peer.module("detectors/s3fd")
    theirs_net = detectors.S3FDNet(device="cpu")
    theirs_net.load_state_dict(net.state_dict())
    theirs = detectors.S3FD(theirs_net, device="cpu")
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (330, 470, 3)).astype(np.uint8), (0, 0), 2)
    pictures = [noise, disc_picture(470, 330, 200, 150, 200)]
    ours = FaceDetector(net)
    found = ours.detect([ours.prepare(picture) for picture in pictures], (470, 330))
    assert sum(len(faces) for faces in found) > 0
    for picture, faces in zip(pictures, found, strict=True):
        expected = theirs.detect_faces(picture, conf_th=0.9, scales=[0.25])
        assert faces.shape == expected.shape
        np.testing.assert_allclose(faces, expected, rtol=0, atol=1e-2)
        alone = ours.detect([ours.prepare(picture)], (470, 330))[0]
        np.testing.assert_allclose(faces, alone, rtol=0, atol=1e-3)


def test_layouts_are_the_published_ones() -> None:
    def shapes(net) -> dict:
        return {name: tuple(value.shape) for name, value in net.state_dict().items()}

    assert shapes(SyncNet()) == shapes(peer.module("SyncNetModel").S())
    assert shapes(S3FD()) == shapes(peer.module("detectors/s3fd").S3FDNet(device="cpu"))


def test_weights_older_than_batch_counters_load(tmp_path: Path) -> None:
    state = {name: value for name, value in brightness_syncnet().state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.model")
    loaded = load_weights(SyncNet(), tmp_path / "old.model").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_with_code_in_it_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = {"netcnnaud.0.weight": _Bomb()}
    torch.save(bomb, tmp_path / "new")
    torch.save(bomb, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "raw").write_bytes(pickle.dumps(bomb, protocol=2))
    for name in ("new", "old", "raw"):
        with pytest.raises(ModelRefusedError, match="more than tensors"):
            load_weights(SyncNet(), tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "list"])
def test_damaged_weights_are_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "x.model"
    if damage == "list":
        torch.save([torch.zeros(1)], file)
    else:
        torch.save({"weight": torch.zeros(300, 300)}, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    if damage == "empty":
        file.write_bytes(b"")
    with pytest.raises(ModelRefusedError) as caught:
        load_weights(SyncNet(), file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
