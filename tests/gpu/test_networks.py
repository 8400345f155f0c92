"""The frozen networks on a device against the CPU, with random weights, the provider or device asserted."""

import numpy as np
import pytest
import torch


def close(ours: torch.Tensor, theirs: torch.Tensor, relative: float) -> None:
    assert ours.shape == theirs.shape
    assert (ours.float().cpu() - theirs.float()).norm() <= relative * theirs.float().norm()


def test_the_vae_encodes_and_decodes_as_on_the_cpu(device) -> None:
    from diffusers import AutoencoderKL

    from inference.models.codecs import VaeCodec

    torch.manual_seed(0)
    sizes = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 1}
    vae = AutoencoderKL(**sizes, block_out_channels=(32, 32, 64, 64), latent_channels=4).eval()
    pictures = torch.rand(2, 3, 64, 64)
    exact = VaeCodec(vae)
    latents = exact.encode(pictures)
    decoded = exact.decode(latents)
    there = VaeCodec(vae.to(device))
    assert there.module.device.type == device
    close(there.encode(pictures.to(device)), latents, 1e-4)
    close(there.decode(latents.to(device)), decoded, 1e-4)


def test_whisper_hears_as_on_the_cpu(device) -> None:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from inference.models.audio_encoders import WhisperStateEncoder

    torch.manual_seed(0)
    config = WhisperConfig(d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, num_mel_bins=80)
    encoder = WhisperEncoder(config)
    sound = 0.1 * torch.randn(16_000 * 3, generator=torch.Generator().manual_seed(1))
    expected = WhisperStateEncoder(encoder, "random").encode(sound)
    heard = WhisperStateEncoder(encoder.to(device), "random").encode(sound)
    assert heard.device.type == "cpu"
    close(heard, expected, 2e-3)  # kept as float16


def test_syncnet_and_s3fd_see_as_on_the_cpu(device) -> None:
    from curation.syncnet.network import CROP_PX, Embedder, SyncNet
    from curation.syncnet.s3fd import S3FD

    torch.manual_seed(0)
    syncnet, s3fd = SyncNet().eval(), S3FD().eval()
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (6, CROP_PX, CROP_PX, 3), np.uint8)
    mfcc = rng.standard_normal((40, 13)).astype(np.float32)
    pictures = torch.rand(1, 3, 128, 160)
    exact, there = Embedder(syncnet), Embedder(syncnet, device)
    assert there.device.type == device
    for ours, theirs in ((there.lips(crops), exact.lips(crops)), (there.sound(mfcc, 6), exact.sound(mfcc, 6))):
        close(torch.from_numpy(ours), torch.from_numpy(theirs), 1e-3)
    with torch.no_grad():
        expected = _flat(s3fd(pictures))
        found = _flat(s3fd.to(device)(pictures.to(device)))
    assert len(expected) >= 2
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs, 1e-3)


def _flat(answer) -> list[torch.Tensor]:
    return [answer] if isinstance(answer, torch.Tensor) else [tensor for part in answer for tensor in _flat(part)]


@pytest.fixture
def onnx_face_network(tmp_path):
    """ArcFace's interface: (1, 3, 112, 112) -> (1, 3), a convolution and a mean."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, save

    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("ReduceMean", ["c", "axes"], ["y"], keepdims=0),
        ],
        "face",
        [value("x", TensorProto.FLOAT, [1, 3, 112, 112])],
        [value("y", TensorProto.FLOAT, [1, 8])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [8, 3, 3, 3], rng.standard_normal(216).astype(np.float32)),
            helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        ],
    )
    file = tmp_path / "face.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(file))
    return file


def test_onnxruntime_runs_on_the_provider_that_was_asked_for(device, onnx_face_network) -> None:
    """What face swap, CSIM and DWPose open their networks with."""
    from curation.onnx_session import PROVIDERS, open_session

    picture = np.random.default_rng(1).random((1, 3, 112, 112), np.float32)
    (expected,) = open_session(onnx_face_network, "cpu").run(None, {"x": picture})
    session = open_session(onnx_face_network, device)
    assert session.get_providers()[0] == PROVIDERS[device]
    (found,) = session.run(None, {"x": picture})
    assert np.allclose(found, expected, rtol=1e-2, atol=1e-3)  # onnxruntime computes in TF32 on CUDA


def test_dwpose_finds_on_a_device_what_it_finds_on_the_cpu(device, tmp_path) -> None:
    pytest.importorskip("onnx")
    from curation.contracts import Clip, Frame, MediaInfo
    from curation.landmarks import make_backend
    from tests.curation.dot_networks import DotPerson, draw, write_models

    runtime = write_models(tmp_path)
    found = {}
    for provider in {"cpu", device}:
        backend = make_backend("dwpose", {"runtime": {**runtime, "provider": provider}})
        tracker = backend.track(Clip("folder", "a", "a", "a.mp4"), MediaInfo(960, 540, 25.0, 6, 240.0, "h264", False, None))
        for index in range(6):
            tracker.on_frame(Frame(index, 40.0 * index, draw([DotPerson(250 + 3 * index, 200, 50)], 960, 540)))
        found[provider] = tracker.finish()
    assert found["cpu"].seen.all()
    assert np.abs(found[device].points_px - found["cpu"].points_px).max() <= 0.1


def test_face_swap_paints_on_a_device_what_it_paints_on_the_cpu(device, tmp_path) -> None:
    pytest.importorskip("onnx")
    from tests.training.data_material import face_points
    from tests.training.offline.test_data_variants import write_networks
    from training.offline.swap import OnnxSwapper

    files = write_networks(tmp_path)
    rgb = np.random.default_rng(2).integers(0, 256, (192, 192, 3), np.uint8)
    points = face_points((96, 96), 90)
    painted = []
    for provider in ("cpu", device):
        networks = OnnxSwapper(*files, provider)
        painted.append(networks.swap(rgb, points, networks.identity(rgb, points)).astype(int))
    assert np.abs(painted[0] - painted[1]).max() <= 2
    assert (painted[0] != rgb).any()


def test_csim_is_the_cpus(device, onnx_face_network, tmp_path) -> None:
    from curation.weights.store import Store
    from inference.evaluation.metrics.identity import Csim
    from tests.training.data_material import face_points

    models = tmp_path / "models"
    (tmp_path / "w600k_r50.onnx").write_bytes(onnx_face_network.read_bytes())
    Store((models,)).fetch("arcface", origin=tmp_path)
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (2, 192, 192, 3), np.uint8)
    points = np.stack([face_points((96, 96), 90), face_points((90, 100), 80)])
    vectors = [Csim(str(models), provider)._embedded(frames, points) for provider in ("cpu", device)]
    assert np.abs(vectors[0] - vectors[1]).max() <= 5e-3
