"""From a manifest to a trained run: what is read, and how often."""

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

import manifests  # noqa: E402
from tests.training.data_material import data_config, write_manifest  # noqa: E402
from tests.training.fakes import tiny_config  # noqa: E402
from training.config import TrainingConfig  # noqa: E402
from training.run import train  # noqa: E402

torch.set_num_threads(1)
SMALL = (
    "model.num_layers=2",
    "model.num_attention_heads=2",
    "model.attention_head_dim=16",
    "model.first_reference_block=1",
    "model.temporal_heads=2",
)


def run_config(manifest, **changes) -> TrainingConfig:
    """One step of a tiny model that caches, validates and makes no video."""
    from dataclasses import replace

    config = tiny_config(1, steps=1, batch_size=2, validation_every_steps=1, validation_samples=2, validation_timesteps=2, **changes)
    data = data_config(manifest, latent_cache="auto", cached_frames=20, min_gap_frames=5)
    return replace(config, data=data, inference_overrides=SMALL)


def test_a_run_with_its_own_latent_cache_reads_the_manifest_once(tmp_path, monkeypatch) -> None:
    folder = write_manifest(tmp_path / "data", 3)
    read = []
    load = manifests.load
    monkeypatch.setattr(manifests, "load", lambda path, *rest: read.append(path) or load(path, *rest))
    state = train(run_config(folder), str(folder), tmp_path / "run", say=lambda line: None)
    assert state.step == 1
    assert len(list((tmp_path / "run" / "latents").glob("??/*.safetensors"))) == 3
    assert len(read) == 1
