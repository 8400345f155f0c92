"""From a manifest to a trained run: what is read, and how often."""

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

import manifests  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.training.data_material import data_config, write_manifest  # noqa: E402
from tests.training.fakes import tiny_config  # noqa: E402
from training.config import CONFIGS, TrainingConfig, load_training_config  # noqa: E402
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


PROFILES = ("embedded", "embedded-weights", "adapt", "paper", "paper-32gb", "paper-24gb")


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_shipped_configuration_is_shared_out_over_devices(profile, stage, devices) -> None:
    """The micro-batch is a ceiling; only a batch of fewer samples than devices is refused."""
    config = load_training_config(profile, stage)
    if config.batch_size < devices:
        assert profile in ("embedded", "embedded-weights", "adapt")
        with pytest.raises(
            UserError, match=rf"batch_size \d cannot be shared out over {devices} devices: train on \d, or change batch_size"
        ):
            config.accumulation(devices)
        return
    micro, accumulation = config.accumulation(devices)
    assert micro * accumulation * devices == config.batch_size
    assert 1 <= micro <= (config.hardware.micro_batch or config.batch_size)


def test_all_profiles_are_tested() -> None:
    assert sorted(PROFILES) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def test_a_configuration_lies_over_its_base() -> None:
    paper, small = load_training_config("paper", 3), load_training_config("paper-32gb", 3)
    assert (small.hardware.precision, small.hardware.micro_batch, small.hardware.gradient_checkpointing) == ("fp16", 1, True)
    assert (small.optimiser, small.data, small.batch_size, small.validation) == (
        paper.optimiser, paper.data, paper.batch_size, paper.validation,
    )  # fmt: skip


def test_a_base_that_leads_to_itself_is_said(tmp_path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(f"base: {second}\n")
    second.write_text(f"base: {first}\n")
    with pytest.raises(UserError, match="leads in a circle"):
        load_training_config(str(first))
