"""FVD's inputs against cd-fvd's, a scripted extractor end to end, and CSIM on a network whose answer is known."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from made_clips import SIZE_PX, face_points, made_clip  # noqa: E402

from curation.face_crop import warp  # noqa: E402
from curation.landmarks.arcface import ARCFACE_PX, TEMPLATE_PX, alignment  # noqa: E402
from curation.weights.store import Store  # noqa: E402
from inference.evaluation.frechet import frechet_distance  # noqa: E402
from inference.evaluation.metrics.base import Judged, UnavailableError  # noqa: E402
from inference.evaluation.metrics.fvd import FvdI3d, FvdVideoMae, i3d_input, videomae_input, windows  # noqa: E402
from inference.evaluation.metrics.identity import Csim  # noqa: E402
from manifests import UserError  # noqa: E402


class Scripted(torch.nn.Module):
    """The signature of StyleGAN-V's I3D, with logits that are easy to know: the mean over each of 400 groups of values."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> torch.Tensor:
        assert not rescale and not resize and return_features  # noqa: PT018 - TorchScript
        return x.flatten(1)[:, : 400 * 6000].reshape(x.shape[0], 400, 6000).mean(2)


def fetched(models: Path, name: str, file: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file).write_bytes(content)
        Store.standard(models).fetch(name, origin=Path(folder))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates scripting, but reads scripts
        torch.jit.script(Scripted()).save(str(Path(folder) / "x.pt"))
        fetched(root, "i3d", "i3d_torchscript.pt", (Path(folder) / "x.pt").read_bytes())
    return root


def test_windows_are_disjoint_and_short_clips_have_none() -> None:
    frames = np.arange(50)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert windows(frames).shape == (3, 16, 2, 2, 3)
    assert [w[0, 0, 0, 0] for w in windows(frames)] == [0, 16, 32]
    assert windows(frames[:15]).shape == (0, 16, 2, 2, 3)


def test_inputs_equal_cd_fvds_where_it_defines_them() -> None:
    from cdfvd.third_party.VideoMAEv2.utils import preprocess_videomae

    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 40, 40, 3), dtype=np.uint8)
    assert torch.allclose(videomae_input(clips), preprocess_videomae(clips), atol=1e-5)
    ours = i3d_input(clips)
    assert ours.shape == (2, 3, 16, 224, 224)
    assert ours.min() >= -1
    assert ours.max() <= 1
    flat = i3d_input(np.full((1, 16, 64, 64, 3), 255, np.uint8))
    assert torch.allclose(flat, torch.ones_like(flat), atol=1e-5)


def test_fvd_is_zero_for_the_same_clip_and_grows_with_blur_noise_and_frame_drops(models: Path) -> None:
    import cv2

    real = made_clip(face_points(64)).frames
    metric = FvdI3d(models_dir=str(models), batch=3)
    assert metric.features(real).shape == (4, 400)
    assert metric.features(real[:10]).shape == (0, 400)
    base = metric.features(real)
    assert frechet_distance(metric.features(real.copy()), base) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(0).normal(0, 1, real.shape)
    changed = {
        "blur": [np.stack([cv2.GaussianBlur(f, (0, 0), s) for f in real]) for s in (2, 6, 20)],
        "noise": [np.clip(real + s * noise, 0, 255).astype(np.uint8) for s in (20, 60, 150)],
        "frame drop": [real[np.arange(64) // k * k] for k in (2, 8, 16)],
    }
    for name, steps in changed.items():
        values = [frechet_distance(metric.features(frames), base) for frames in steps]
        assert 0 < values[0] < values[1] < values[2], name


def test_missing_weights_are_reasons(tmp_path: Path) -> None:
    for metric in (FvdI3d, FvdVideoMae, Csim):
        with pytest.raises(UnavailableError, match="models fetch"):
            metric(models_dir=str(tmp_path))
    fetched(tmp_path, "i3d", "i3d_torchscript.pt", b"no script")
    with pytest.raises(UnavailableError, match="published layout"):
        FvdI3d(models_dir=str(tmp_path))
    fetched(tmp_path, "arcface", "w600k_r50.onnx", b"no network")
    with pytest.raises(UnavailableError, match="onnxruntime cannot open"):
        Csim(models_dir=str(tmp_path))


def test_faces_are_laid_on_arcfaces_template() -> None:
    """Dots at the five points come out at the template's places, however the face is turned and scaled."""
    points = face_points(1, roll_deg=12.0, zoom=4.0)[0]
    from curation.landmarks.sixty_eight import eye_centres

    five = np.stack([*eye_centres(points), points[30], points[48], points[54]])
    for dot, expected in zip(five, TEMPLATE_PX, strict=True):
        picture = np.zeros((SIZE_PX, SIZE_PX, 3), np.float32)
        y, x = np.mgrid[:SIZE_PX, :SIZE_PX] + 0.5
        picture[...] = (255 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / 4))[..., None]
        found = warp(picture.astype(np.uint8), alignment(points), ARCFACE_PX)[..., 0].astype(float)
        rows, columns = np.mgrid[:112, :112] + 0.5
        centre = np.array([(found * columns).sum(), (found * rows).sum()]) / found.sum()
        assert np.abs(centre - expected).max() < 6  # a generic face is not the template's; its parts are


def test_csim_of_a_known_network(models: Path, tmp_path: Path) -> None:
    """An ONNX network that gives the mean colour: CSIM is the cosine of mean colours."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    fetched(tmp_path, "arcface", "w600k_r50.onnx", model.SerializeToString())
    metric = Csim(models_dir=str(tmp_path))
    points = face_points(10)
    tints = [np.full((10, SIZE_PX, SIZE_PX, 3), tint, np.uint8) for tint in ([255, 140, 128], [255, 150, 128], [100, 255, 128])]
    reference = made_clip(points, frames=tints[0]).first(1)
    same, near, far = (metric.score(Judged(made_clip(points, frames=f), made_clip(points), reference=reference)) for f in tints)
    assert same["csim"] == pytest.approx(1, abs=1e-5)
    assert same["csim"] > near["csim"] > far["csim"]
    assert far["csim_p5"] <= far["csim"] + 1e-6
    assert metric.score(Judged(made_clip(points), made_clip(points))) == {}
    metric._session.run = lambda *_: [np.full((1, 3), np.nan, np.float32)]
    with pytest.raises(UserError, match="csim: its network gives numbers that are none"):
        metric.score(Judged(made_clip(points, frames=tints[0]), made_clip(points), reference=reference))
