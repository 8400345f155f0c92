"""The learnt decoder of block-DCT latents, and the file it comes from."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inference.models.block_dct import BlockDctCodec
from inference.models.components import PACKAGED_DECODER, CodecConfig, build_codec, load_inference_config
from inference.models.forgiving_decoder import ForgivingDctCodec, ForgivingDecoder, lapped
from inference.models.weight_files import WeightsFileError
from manifests import UserError


def test_an_untrained_decoder_is_the_codec_itself_lapped() -> None:
    latents = torch.randn(2, 3, 21, 4, 6)
    codec = ForgivingDctCodec(ForgivingDecoder())
    assert torch.equal(codec.decode(latents), lapped(BlockDctCodec().decode(latents).flatten(0, 1)).unflatten(0, (2, 3)))
    assert torch.equal(codec.encode(latents.new_ones(1, 3, 16, 16)), BlockDctCodec().encode(latents.new_ones(1, 3, 16, 16)))


def test_lapping_takes_steps_of_the_grid_and_leaves_smooth_pictures() -> None:
    codec, generator = BlockDctCodec(), torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6, generator=generator), (64, 64), mode="bicubic")
    latents = codec.encode(smooth)
    blocks = codec.decode(latents + 0.2 * torch.randn(latents.shape, generator=generator))

    def border_share(picture: torch.Tensor) -> float:
        steps = picture.diff(dim=-1).abs().mean((0, 1, 2))
        return float(steps[7::8].mean() / steps.mean())

    assert border_share(blocks) > 1.5
    assert border_share(lapped(blocks)) - 1 < 0.5 * (border_share(blocks) - 1)
    ramp = torch.linspace(0.2, 0.7, 48, dtype=torch.float64).expand(1, 3, 48, 48)
    assert torch.allclose(lapped(ramp)[..., 8:-8, 8:-8], ramp[..., 8:-8, 8:-8], atol=2e-3)


def test_it_sees_neighbours_and_clips_of_any_leading_shape() -> None:
    decoder = ForgivingDecoder()
    with torch.no_grad():
        decoder.conv_out.weight.normal_(std=0.1)
    codec, latents = ForgivingDctCodec(decoder), torch.randn(1, 2, 21, 6, 6)
    changed = latents.clone()
    changed[..., 3, 3] += 1
    difference = (codec.decode(changed) - codec.decode(latents)).abs()
    assert difference[..., 24:32, 16:24].max() > 0  # the block to the left of the one that changed
    assert torch.allclose(codec.decode(latents)[0, 1], codec.decode(latents[0, 1:2])[0], atol=1e-5)


def test_files(tmp_path) -> None:
    decoder = ForgivingDecoder()
    with torch.no_grad():
        decoder.conv_out.weight.normal_(std=0.1)
    save_file({name: tensor.half() for name, tensor in decoder.state_dict().items()}, tmp_path / "good.safetensors")
    read = ForgivingDecoder.from_file(tmp_path / "good.safetensors")
    assert torch.allclose(read.conv_out.weight, decoder.conv_out.weight, atol=1e-3)
    save_file({"conv_in.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:1000])
    for name in ("other", "cut", "absent"):
        with pytest.raises(WeightsFileError):
            ForgivingDecoder.from_file(tmp_path / f"{name}.safetensors")
    config = load_inference_config("embedded", (f"codec.decoder={tmp_path / 'good.safetensors'}",))
    assert isinstance(build_codec(config), ForgivingDctCodec)
    with pytest.raises(UserError, match="block_dct"):
        CodecConfig(kind="vae", decoder="packaged")


def test_the_packaged_decoder_hides_disturbance() -> None:
    """On a photograph that it was not trained on."""
    cv2 = pytest.importorskip("cv2")
    skimage = importlib.util.find_spec("skimage")
    if skimage is None:
        pytest.skip("scikit-image's photographs are not installed")
    grey = cv2.resize(cv2.imread(str(Path(skimage.submodule_search_locations[0], "data", "camera.png")), 0), (128, 128), interpolation=3)
    picture = torch.from_numpy(grey).float().expand(1, 3, -1, -1) / 255
    decoder, codec = ForgivingDecoder.from_file(PACKAGED_DECODER), BlockDctCodec()
    latents = codec.encode(picture)
    noisy = latents + 0.3 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))

    def error_db(decoded: torch.Tensor) -> float:
        return float(10 * torch.log10((decoded - picture).square().mean()))

    def border_share(decoded: torch.Tensor) -> float:
        steps = decoded.diff(dim=-1).abs().mean((0, 1, 2))
        return float(steps[7::8].mean() / steps.mean())

    assert error_db(decoder(latents)) < error_db(codec.decode(latents)) + 0.8
    assert error_db(decoder(noisy)) < error_db(codec.decode(noisy)) - 2
    assert border_share(decoder(noisy)) < 0.5 * border_share(codec.decode(noisy))
