"""The denoiser against diffusers' PixArt-α without text, and the loading of both published layouts."""

import pytest
import torch
from diffusers import PixArtTransformer2DModel

from inference.models import MegActorModel, initialise_from_pixart, load_tensors
from inference.models.weight_files import WeightsFileError
from inference.models.weights import WeightsError


def without_text(state: dict) -> dict:
    return {name: tensor for name, tensor in state.items() if ".attn2." not in name and "caption_projection" not in name}


def original_layout(state: dict, num_layers: int) -> dict:
    """diffusers' names → PixArt's own, from the published conversion tool's table, the other way round than the project reads it."""
    out = {"pos_embed": torch.zeros(1, 4, 4), "y_embedder.y_embedding": torch.zeros(120, 24)}
    whole = [
        ("pos_embed.proj", "x_embedder.proj"),
        ("adaln_single.emb.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("adaln_single.emb.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("adaln_single.linear", "t_block.1"),
        ("caption_projection.linear_1", "y_embedder.y_proj.fc1"),
        ("caption_projection.linear_2", "y_embedder.y_proj.fc2"),
        ("proj_out", "final_layer.linear"),
    ]
    for i in range(num_layers):
        theirs, ours = f"transformer_blocks.{i}", f"blocks.{i}"
        out[f"{ours}.scale_shift_table"] = state[f"{theirs}.scale_shift_table"]
        for leaf in ("weight", "bias"):
            out[f"{ours}.attn.qkv.{leaf}"] = torch.cat([state[f"{theirs}.attn1.to_{x}.{leaf}"] for x in "qkv"])
            out[f"{ours}.cross_attn.kv_linear.{leaf}"] = torch.cat([state[f"{theirs}.attn2.to_{x}.{leaf}"] for x in "kv"])
        whole += [
            (f"{theirs}.attn1.to_out.0", f"{ours}.attn.proj"),
            (f"{theirs}.attn2.to_q", f"{ours}.cross_attn.q_linear"),
            (f"{theirs}.attn2.to_out.0", f"{ours}.cross_attn.proj"),
            (f"{theirs}.ff.net.0.proj", f"{ours}.mlp.fc1"),
            (f"{theirs}.ff.net.2", f"{ours}.mlp.fc2"),
        ]
    for theirs, ours in whole:
        for leaf in ("weight", "bias"):
            out[f"{ours}.{leaf}"] = state[f"{theirs}.{leaf}"]
    out["final_layer.scale_shift_table"] = state["scale_shift_table"]
    return out


@pytest.mark.parametrize(("grid", "driven"), [(32, "random"), (64, "random"), (128, "random"), (64, "black")])
def test_equals_pixart_whatever_drives_it(make_pixart, grid, driven):
    """The position table of the real model (base 64), at the three grids; any driven input, since its channels start at zero."""
    sizes = {"num_layers": 2, "sample_size": 64, "num_attention_heads": 2, "attention_head_dim": 4}
    published = make_pixart(text=True, **sizes)
    model = MegActorModel(**sizes, first_reference_block=1, with_audio=False, with_temporal=False)
    initialise_from_pixart(model, published.state_dict())
    oracle = make_pixart(text=False, **sizes)
    oracle.load_state_dict(without_text(published.state_dict()))
    model.double(), oracle.double()
    generator = torch.Generator().manual_seed(grid)
    latents = torch.randn(1, 1, 4, grid, grid, generator=generator, dtype=torch.float64)
    frames = torch.zeros(1, 1, 3, 8 * grid, 8 * grid, dtype=torch.float64)
    if driven == "random":
        frames.uniform_(generator=generator)
    timesteps = torch.tensor([417])
    with torch.no_grad():
        ours = model(latents, timesteps, frames)[:, 0]
        theirs = oracle(latents[:, 0], timestep=timesteps, return_dict=False)[0]
    assert theirs.abs().max() > 0.1
    assert (ours - theirs).abs().max() <= 1e-10


@pytest.mark.slow
def test_full_size_equals_pixart():
    """28 blocks of width 1152 at 256 px in float32; about 7 GiB of memory."""
    torch.manual_seed(0)
    published = PixArtTransformer2DModel(sample_size=64, caption_channels=4096).eval()
    state = published.state_dict()
    model = MegActorModel(with_audio=False, with_temporal=False).eval()
    report = initialise_from_pixart(model, state)
    assert (len(report.used), len(report.dropped)) == (375, 228)
    with torch.device("meta"):
        oracle = PixArtTransformer2DModel(sample_size=64, cross_attention_dim=None)
    oracle.load_state_dict(without_text(state), assign=True)
    oracle.pos_embed.pos_embed = published.pos_embed.pos_embed
    latents = torch.randn(1, 1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model(latents, torch.tensor([417]), torch.rand(1, 1, 3, 256, 256))[:, 0]
        theirs = oracle.eval()(latents[:, 0], timestep=torch.tensor([417]), return_dict=False)[0]
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_equals_pixart_for_clips_and_audio_at_initialisation(make_model, make_inputs, make_pixart):
    """Audio and temporal layers start as the identity: all frames of all clips still equal PixArt, each at its clip's timestep."""
    model, inputs = make_model(), make_inputs(reference=False)
    oracle = make_pixart(text=False)
    oracle.load_state_dict(without_text(make_pixart(text=True).state_dict()))
    with torch.no_grad():
        ours = model(**inputs).flatten(0, 1)
        theirs = oracle.double()(inputs["latents"].flatten(0, 1), timestep=inputs["timesteps"].repeat_interleave(3), return_dict=False)[0]
    assert (ours - theirs).abs().max() <= 1e-10


def test_published_layouts_load_strictly(make_pixart, tmp_path):
    """28 blocks: 603 tensors in, 375 used, 228 dropped, from a diffusers folder (one file or shards) and from the original .pth alike."""
    published = make_pixart(text=True, num_layers=28, num_attention_heads=1, sample_size=64)
    state = published.state_dict()
    assert len(state) == 603
    published.save_pretrained(tmp_path / "pipeline" / "transformer")
    published.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    torch.save({"state_dict": original_layout(state, 28)}, tmp_path / "PixArt-XL-2-512x512.pth")
    models = []
    for path in ("pipeline", "sharded", "PixArt-XL-2-512x512.pth"):
        torch.manual_seed(7)
        model = MegActorModel(num_attention_heads=1, attention_head_dim=8, with_audio=False, with_temporal=False)
        report = initialise_from_pixart(model, load_tensors(tmp_path / path))
        assert (len(report.used), len(report.dropped)) == (375, 228)
        assert all(".attn2." in name or "caption_projection" in name for name in report.dropped)
        assert all(name.startswith("driven_encoder.") for name in report.new)
        assert set(report.filled) | set(report.new) == set(model.state_dict())
        models.append(model.state_dict())
    for other in models[1:]:
        assert all(torch.equal(models[0][name], other[name]) for name in other)
    assert torch.equal(models[0]["reference.transformer_blocks.26.attn1.to_v.weight"], state["transformer_blocks.26.attn1.to_v.weight"])
    assert torch.equal(models[0]["reference.last_block.scale_shift_table"], state["transformer_blocks.27.scale_shift_table"])


def test_real_sizes_have_603_tensors():
    with torch.device("meta"):
        published = PixArtTransformer2DModel(sample_size=64, caption_channels=4096)
    assert len(published.state_dict()) == 603
    assert sum(p.numel() for p in published.parameters()) == 610_856_096


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("transformer_blocks.1.ff.net.2.bias"), "lacks"),
        (lambda state: state.update({"transformer_blocks.9.attn1.to_q.weight": torch.zeros(32, 32)}), "no place"),
        (lambda state: state.update({"proj_out.weight": torch.zeros(16, 32)}), "has shape"),
        (lambda state: state.update({"adaln_single.emb.resolution_embedder.linear_1.weight": torch.zeros(1)}), "1024 px"),
        (lambda state: state.update({"text_model.weight": torch.zeros(1)}), "no place"),
    ],
)
def test_a_wrong_source_is_refused_and_leaves_the_model_alone(make_model, make_pixart, damage, message):
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = make_pixart(text=True, seed=5).state_dict()
    damage(state)
    with pytest.raises(WeightsError, match=message):
        initialise_from_pixart(model, state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_training_checkpoint_gives_its_last_or_its_averaged_weights(make_pixart, tmp_path):
    """PixArt-α's trainer saves both (diffusion/utils/checkpoint.py); which one is read is said, and never guessed."""
    last, average = (original_layout(make_pixart(text=True, seed=seed).state_dict(), 2) for seed in (1, 2))
    torch.save({"state_dict": last, "state_dict_ema": average, "epoch": 3}, tmp_path / "both.pth")
    torch.save({"state_dict": last}, tmp_path / "last.pth")
    for choice, expected in ((False, last), (True, average)):
        read = load_tensors(tmp_path / "both.pth", average=choice)
        assert read.keys() == expected.keys()
        assert all(torch.equal(read[name], expected[name]) for name in expected)
    with pytest.raises(WeightsFileError, match="no averaged weights"):
        load_tensors(tmp_path / "last.pth", average=True)
    make_pixart(text=True).save_pretrained(tmp_path / "folder")
    with pytest.raises(WeightsFileError, match="one set of weights"):
        load_tensors(tmp_path / "folder", average=True)


def test_a_pickle_with_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": {"x": Trap()}}, tmp_path / "bad.pth")
    with pytest.raises(WeightsFileError, match="not read"):
        load_tensors(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["absent.pth", "cut.safetensors", "cut.pth", "notes.txt"])
def test_files_that_hold_no_weights_are_named(tmp_path, name):
    if not name.startswith("absent"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(WeightsFileError, match=name.split(".")[0]):
        load_tensors(tmp_path / name)


def test_a_shard_index_cannot_leave_its_folder(tmp_path):
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    (tmp_path.parent / "outside.safetensors").write_bytes(b"")
    with pytest.raises(WeightsFileError, match="not a file of that folder"):
        load_tensors(tmp_path)
