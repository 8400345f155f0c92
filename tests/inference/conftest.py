import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the model needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the model needs diffusers: install the [train] extra")

torch.set_num_threads(1)

TINY = {
    "num_layers": 4,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "sample_size": 16,
    "first_reference_block": 2,
    "audio_width": 12,
    "audio_tokens": 6,
    "temporal_heads": 2,
}


@pytest.fixture
def tiny_sizes() -> dict:
    return dict(TINY)


@pytest.fixture
def corpus() -> Path:
    root = Path(os.environ.get("MEGACTOR_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus")).resolve()
    if not root.is_dir():
        pytest.skip(f"no corpus at {root}")
    return root


@pytest.fixture
def make_pixart():
    """diffusers' PixArt-α of the tiny sizes with random weights, none of them zero; `text=True` as published, False without text."""
    from diffusers import PixArtTransformer2DModel

    def make(text: bool, num_layers: int = TINY["num_layers"], sample_size: int = TINY["sample_size"], seed: int = 0, **sizes):
        torch.manual_seed(seed)
        heads = {name: sizes.get(name, TINY[name]) for name in ("num_attention_heads", "attention_head_dim")}
        model = PixArtTransformer2DModel(
            **heads,
            num_layers=num_layers,
            sample_size=sample_size,
            cross_attention_dim=heads["num_attention_heads"] * heads["attention_head_dim"] if text else None,
            caption_channels=24 if text else None,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model.eval()

    return make


@pytest.fixture
def make_model(make_pixart):
    """A tiny model initialised from a tiny PixArt-α, in float64. `lively=True` also gives the zero-initialised layers random values."""
    from inference.models import MegActorModel, initialise_from_pixart

    def make(lively: bool = False, seed: int = 0, **overrides):
        torch.manual_seed(seed)
        sizes = {**TINY, **overrides}
        model = MegActorModel(**sizes)
        pixart = make_pixart(text=True, num_layers=sizes["num_layers"], sample_size=sizes["sample_size"], seed=seed)
        initialise_from_pixart(model, pixart.state_dict())
        if lively:
            with torch.no_grad():
                for parameter in model.parameters():
                    if not parameter.any():
                        parameter.add_(0.05 * torch.randn_like(parameter))
                model.denoiser.pos_embed.proj.weight[:, 4:] += 0.05
        return model.double().eval()

    return make


@pytest.fixture
def make_inputs():
    """Keyword arguments of the model's forward, in float64."""

    def make(clips: int = 2, frames: int = 3, grid: int = 16, seed: int = 1, audio: bool = True, reference: bool = True, sizes=TINY):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        inputs = {
            "latents": normal(clips, frames, 4, grid, grid),
            "timesteps": torch.randint(0, 1000, (clips,), generator=generator),
            "driven_frames": torch.rand(clips, frames, 3, 8 * grid, 8 * grid, generator=generator, dtype=torch.float64),
        }
        if reference:
            inputs["reference_latents"] = normal(clips, 4, grid, grid)
        if audio:
            inputs["audio"] = normal(clips, frames, sizes["audio_tokens"], sizes["audio_width"])
        return inputs

    return make
