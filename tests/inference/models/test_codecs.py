"""Codecs: what is kept is kept exactly, shapes and clips, and the memory that the VAE may take."""

import math
import weakref

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference.models import BlockDctCodec, TinyPreviewCodec, VaeCodec
from inference.models.block_dct import DEVIATION, KEPT, MEAN
from inference.models.shapes import ShapeError
from inference.models.weight_files import WeightsFileError

SD_VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 256,
}
STATED_GIB = 1.0  # what a VaeCodec may take above its weights in float32, whatever it is given; see docs/model.md


def small_vae():
    torch.manual_seed(0)
    return AutoencoderKL(**{**SD_VAE, "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4})


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class PeakMemory(TorchDispatchMode):
    """Bytes of the tensors that live at the same time, the largest sum seen; works on fake tensors, which hold no data."""

    def __init__(self):
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self.known = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self.known:
                storage, size = tensor.untyped_storage(), tensor.untyped_storage().nbytes()
                self.known[storage] = size
                self.live_bytes += size
                weakref.finalize(storage, self._forget, size)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return out

    def _forget(self, size):
        self.live_bytes -= size


def test_block_dct_inverts_exactly_what_it_keeps():
    codec = BlockDctCodec()
    latents = torch.randn(2, 3, 21, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert codec.decode(latents).shape == (2, 3, 3, 32, 48)
    assert (codec.encode(codec.decode(latents)) - latents).abs().max() <= 1e-12
    image = images(1, 3, 32, 32)
    once = codec.decode(codec.encode(image))
    assert (codec.decode(codec.encode(once)) - once).abs().max() <= 1e-12


def test_block_dct_equals_opencv():
    cv2 = pytest.importorskip("cv2")
    image = images(1, 3, 16, 24)
    latents = BlockDctCodec().encode(image)
    red, green, blue = image[0]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (luma, 0.5 * (blue - luma) / (1 - 0.114), 0.5 * (red - luma) / (1 - 0.299))  # BT.601's definition of Cb and Cr
    for channel, (plane, u, v) in enumerate(KEPT):
        for row in range(2):
            for column in range(3):
                block = planes[plane][8 * row : 8 * row + 8, 8 * column : 8 * column + 8].contiguous().numpy()
                expected = (cv2.dct(block)[u, v] - MEAN[channel]) / DEVIATION[channel]
                assert latents[0, channel, row, column].item() == pytest.approx(expected, abs=2e-5)


def test_block_dct_gives_flat_images_back_and_has_21_distinct_channels():
    codec = BlockDctCodec()
    flat = torch.tensor([0.2, 0.7, 0.4], dtype=torch.float64)[None, :, None, None].expand(1, 3, 16, 16)
    assert (codec.decode(codec.encode(flat)) - flat).abs().max() <= 1e-12
    assert len(set(KEPT)) == codec.latent_channels == len(MEAN) == len(DEVIATION) == 21


@pytest.mark.corpus
def test_block_dct_has_unit_variance_on_faces(corpus):
    av = pytest.importorskip("av")
    cv2 = pytest.importorskip("cv2")
    latents, psnr_db, codec = [], [], BlockDctCodec()
    for path in sorted((corpus / "crops").glob("*.mp4"))[1::10]:  # not the ones that the scales were measured on
        with av.open(str(path)) as container:
            rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
        image = torch.from_numpy(cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_AREA)).permute(2, 0, 1)[None] / 255
        latents.append(codec.encode(image))
        psnr_db.append(-10 * math.log10((codec.decode(latents[-1]) - image).square().mean().item()))
    deviation = torch.cat(latents).std((0, 2, 3))
    assert deviation.min() > 0.5
    assert deviation.max() < 1.7
    assert sum(psnr_db) / len(psnr_db) > 28


@pytest.mark.parametrize("px", [256, 512, 1024])
@pytest.mark.parametrize("codec", ["vae", "tiny", "dct"])
def test_round_trip_shapes_and_batches_of_clips(codec, px):
    if codec == "vae":
        made = VaeCodec(small_vae())
    elif codec == "tiny":
        torch.manual_seed(0)
        few = {"encoder_block_out_channels": (4,) * 4, "decoder_block_out_channels": (4,) * 4}
        made = TinyPreviewCodec(AutoencoderTiny(**few, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4))
    else:
        made = BlockDctCodec()
    frames = 2 if px == 256 else 1
    batch = images(1, frames, 3, px, px).float()
    latents = made.encode(batch)
    assert latents.shape == (1, frames, made.latent_channels, px // 8, px // 8)
    assert made.decode(latents).shape == batch.shape
    assert made.decode(latents).isfinite().all()


def test_vae_codec_equals_the_autoencoder_with_its_scale():
    vae, batch = small_vae(), images(2, 2, 3, 64, 64).float()
    codec = VaeCodec(vae)
    latents = codec.encode(batch)
    mean = vae.encode(batch.flatten(0, 1) * 2 - 1).latent_dist.mean
    assert codec.scale == pytest.approx(0.18215)
    assert torch.allclose(latents.flatten(0, 1), mean * 0.18215, atol=1e-6)
    assert torch.allclose(codec.decode(latents).flatten(0, 1), vae.decode(mean).sample / 2 + 0.5, atol=1e-5)
    drawn = [codec.encode(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_512_px_is_never_tiled_though_the_file_says_256():
    vae, batch = small_vae(), images(1, 3, 512, 512).float()
    whole = small_vae().eval()
    with torch.no_grad():
        assert torch.equal(VaeCodec(vae).encode(batch), whole.encode(batch * 2 - 1).latent_dist.mean * vae.config.scaling_factor)


@pytest.mark.parametrize(("px", "frames"), [(256, 4), (512, 3), pytest.param(1024, 1, marks=pytest.mark.slow)])
def test_the_sd_vae_stays_within_the_stated_memory(px, frames):
    """The real sizes on fake tensors: every allocation is counted, nothing is computed."""
    with FakeTensorMode():
        vae = AutoencoderKL(**SD_VAE)
        assert sum(p.numel() for p in vae.parameters()) == 83_653_863
        codec = VaeCodec(vae)
        for work, given in ((codec.encode, (1, frames, 3, px, px)), (codec.decode, (1, frames, 4, px // 8, px // 8))):
            data = torch.rand(given)
            with PeakMemory() as memory:
                work(data)
            print(f"{work.__name__} {frames} frames of {px} px: {memory.peak_bytes / 2**30:.2f} GiB")
            assert memory.peak_bytes / 2**30 <= STATED_GIB


@pytest.mark.parametrize("px", [256, 1024])
def test_block_dct_takes_no_more_than_a_few_times_its_pixels(px):
    batch = torch.rand(1, 3, 3, px, px)
    with PeakMemory() as memory:
        BlockDctCodec().decode(BlockDctCodec().encode(batch))
    print(f"{memory.peak_bytes / batch.nbytes:.2f} times the pixels")
    assert memory.peak_bytes <= 6 * batch.nbytes


def test_codecs_name_wrong_shapes():
    for codec in (BlockDctCodec(), VaeCodec(small_vae())):
        with pytest.raises(ShapeError, match=r"images has shape \(1, 4, 64, 64\); it needs \(…, 3, H, W\)"):
            codec.encode(torch.zeros(1, 4, 64, 64))
        with pytest.raises(ShapeError, match="height of images is 60"):
            codec.encode(torch.zeros(1, 3, 60, 64))
        with pytest.raises(ShapeError, match=rf"it needs \(…, {codec.latent_channels}, h, w\)"):
            codec.decode(torch.zeros(1, 5, 8, 8))


def test_autoencoders_load_strictly_from_local_folders(tmp_path):
    vae = small_vae()
    vae.save_pretrained(tmp_path / "vae")
    batch = images(1, 3, 64, 64).float()
    assert torch.equal(VaeCodec.from_pretrained(tmp_path / "vae").encode(batch), VaeCodec(vae).encode(batch))
    with pytest.raises(WeightsFileError, match="no folder"):
        VaeCodec.from_pretrained(tmp_path / "absent")
    with pytest.raises(WeightsFileError, match=r"missing|holds no"):
        TinyPreviewCodec.from_pretrained(tmp_path / "vae")
    vae.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(WeightsFileError, match="safetensors"):
        VaeCodec.from_pretrained(tmp_path / "pickled")
