"""Saving and loading: round trips, shards, dtypes, strictness, and folders that are replaced whole."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.models import MegActorModel
from inference.models.megactor import CheckpointError
from manifests import UserError
from manifests.atomic import replace_folder


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("shard", ["5GB", "200KB"])
def test_round_trip_whole_and_sharded(make_model, make_inputs, tmp_path, shard):
    model, inputs = make_model(lively=True, reference_timestep="zero").float(), make_inputs()
    model.save_pretrained(tmp_path / "model", max_shard_size=shard)
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "README.md"} < files
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in files)
    assert (len([name for name in files if name.endswith(".safetensors")]) > 1) == (shard == "200KB")
    loaded = MegActorModel.from_pretrained(tmp_path / "model")
    assert same(model, loaded)
    assert loaded.sizes == model.sizes
    with torch.no_grad():  # what is computed at construction, such as the position table, is right too
        inputs = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
        assert torch.equal(loaded.eval()(**inputs), model(**inputs))


def test_dtype_and_device_choices(make_model, tmp_path):
    model = make_model(lively=True).float()
    model.save_pretrained(tmp_path / "model")
    for kwargs in ({"torch_dtype": torch.bfloat16}, {"torch_dtype": torch.bfloat16, "device_map": "cpu"}):
        loaded = MegActorModel.from_pretrained(tmp_path / "model", **kwargs)
        assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
        assert {p.device.type for p in loaded.parameters()} == {"cpu"}
        assert torch.equal(loaded.denoiser.proj_out.weight, model.denoiser.proj_out.weight.bfloat16())
    loaded.save_pretrained(tmp_path / "half")
    assert MegActorModel.from_pretrained(tmp_path / "half", torch_dtype=torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop("denoiser.proj_out.bias"), "missing keys: denoiser.proj_out.bias"),
        (lambda tensors: tensors.update(stray=torch.zeros(1)), "unexpected keys: stray"),
        (lambda tensors: tensors.update({"denoiser.proj_out.bias": torch.zeros(3)}), "shape"),
    ],
)
def test_loading_is_strict(make_model, tmp_path, damage, message):
    make_model().float().save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises((CheckpointError, ValueError), match=message):
        MegActorModel.from_pretrained(tmp_path)


def test_pickled_weights_are_not_loaded(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        MegActorModel.from_pretrained(tmp_path)


def test_model_card_says_what_the_weights_are(make_model, tmp_path):
    model = make_model(with_temporal=False)
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    total = sum(p.numel() for p in model.parameters())
    assert f"| total | {total:,} |" in card
    assert "stage 2 weights" in card
    assert "temporal modules" not in card
    assert json.loads((tmp_path / "config.json").read_text())["with_temporal"] is False


def test_a_saved_model_names_no_folder_that_it_was_loaded_from(make_model, tmp_path):
    make_model().save_pretrained(tmp_path / "first")
    MegActorModel.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    assert str(tmp_path) not in (tmp_path / "second" / "config.json").read_text(encoding="utf-8")
    assert MegActorModel.from_pretrained(tmp_path / "second").sizes == make_model().sizes


def test_saving_again_replaces_the_folder_whole(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    model.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_model(tmp_path):
    target = tmp_path / "model"
    with replace_folder(target, "config.json") as folder:
        (folder / "config.json").write_text("old")

    def fail():
        with replace_folder(target, "config.json") as folder:
            (folder / "config.json").write_text("new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (target / "config.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_other_peoples_folders_are_not_replaced(make_model, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="other things"):
        make_model().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        make_model().save_pretrained(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
