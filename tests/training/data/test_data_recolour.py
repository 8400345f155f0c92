"""Other colours for a whole sample: what the codec says of its latents is what the same pictures in other colours have."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: install the [train] extra")

from inference.models.block_dct import BlockDctCodec  # noqa: E402
from inference.models.codecs import RecolouringCodec, VaeCodec  # noqa: E402
from inference.models.schedule import SCHEDULE  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.training.fakes import fake_batch  # noqa: E402
from training.data.draws import draws  # noqa: E402
from training.data.recolour import SAME, RecolourConfig, draw_recolour  # noqa: E402
from training.loop.inputs import model_inputs  # noqa: E402

# ITU-R BT.601, full range, written down here once more: the codec's own table is what is tested.
TO_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def test_latents_in_other_colours_are_those_of_the_picture_in_other_colours() -> None:
    images = torch.rand(3, 2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    drawn = [draw_recolour(RecolourConfig(share=1.0), draws(0, 1, k, "recolour")) for k in range(3)]
    turn, tint = torch.tensor([d.turn for d in drawn]), torch.tensor([d.tint for d in drawn])
    planes = torch.einsum("pc,...chw->...phw", TO_YCBCR, images)
    chroma = torch.einsum("bpq,bfqhw->bfphw", turn, planes[:, :, 1:]) + tint[:, None, :, None, None]
    changed = torch.einsum("cp,...phw->...chw", torch.linalg.inv(TO_YCBCR), torch.cat([planes[:, :, :1], chroma], dim=2))
    codec = BlockDctCodec()
    found = codec.recoloured(codec.encode(images), turn[:, None], tint[:, None])
    torch.testing.assert_close(found, codec.encode(changed), rtol=1e-4, atol=1e-3)
    assert not torch.allclose(found, codec.encode(images), atol=0.1)


def test_draws_stay_in_their_ranges_and_leave_the_rest_alone() -> None:
    config = RecolourConfig(share=0.5, hue=0.1, saturation=2.0, tint=0.05)
    drawn = [draw_recolour(config, draws(1, 2, k, "recolour")) for k in range(400)]
    changed = [d for d in drawn if d != SAME]
    assert 150 < len(changed) < 250
    grown = np.array([np.hypot(d.turn[0][0], d.turn[1][0]) for d in changed])
    angles = np.array([np.arctan2(d.turn[1][0], d.turn[0][0]) for d in changed]) / (2 * np.pi)
    assert 0.5 <= grown.min() < 0.6
    assert 1.8 < grown.max() <= 2.0
    assert abs(np.log(grown).mean()) < 0.1
    assert 0.09 < np.abs(angles).max() <= 0.1
    assert 0.045 < np.abs([d.tint for d in changed]).max() <= 0.05
    assert all(draw_recolour(RecolourConfig(), draws(1, 2, k, "recolour")) == SAME for k in range(50))


def test_target_portrait_and_moved_portrait_change_their_colours_alike() -> None:
    codec, batch = BlockDctCodec(), fake_batch([0, 1, 2], stage=2)
    drawn = [SAME, *(draw_recolour(RecolourConfig(share=1.0), draws(0, 2, k, "recolour")) for k in (1, 2))]
    recolour = torch.tensor([[(*row, tint) for row, tint in zip(d.turn, d.tint, strict=True)] for d in drawn])
    plain = model_inputs(batch, codec, True, SCHEDULE)
    found = model_inputs(replace(batch, recolour=recolour), codec, True, SCHEDULE)
    for name, before, after in (
        ("target", plain.x0[:, 0], found.x0[:, 0]),
        ("reference", plain.arguments["reference_latents"], found.arguments["reference_latents"]),
        ("moved", plain.arguments["moved_latents"][:, 0], found.arguments["moved_latents"][:, 0]),
    ):
        expected = torch.stack([codec.recoloured(b[None], r[None, :, :2], r[None, :, 2])[0] for b, r in zip(before, recolour, strict=True)])
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4, msg=name)
        torch.testing.assert_close(after[0], before[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(found.arguments["driven_frames"], plain.arguments["driven_frames"])
    with pytest.raises(UserError, match="block-DCT codec"):
        model_inputs(replace(batch, recolour=recolour), object.__new__(Foreign), True, SCHEDULE)


class Foreign:
    """A codec whose latents say nothing of colour."""

    def encode(self, images, generator=None):
        return BlockDctCodec().encode(images)


def test_only_the_block_codec_can() -> None:
    assert isinstance(BlockDctCodec(), RecolouringCodec)
    assert not isinstance(object.__new__(VaeCodec), RecolouringCodec)


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"hue": -0.1}, {"saturation": 0.5}, {"tint": 0.6}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RecolourConfig(**wrong)
