"""FLOP formulas against torch's FlopCounterMode on the meta device, at the full size; the summary command."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inference.models import MegActorModel, ModelConfig, forward_flops, parameter_table, training_flops
from inference.models.__main__ import main
from inference.models.flops import Work
from inference.models.megactor import parts

FEWER_BLOCKS = {"num_layers": 8, "first_reference_block": 3}
CONFIGS = Path(__file__).parents[3] / "configs" / "inference"


def counted(config, work, backward=False, trained=None):
    """FLOPs that torch counts in a pass over meta tensors."""
    with torch.device("meta"):
        model = MegActorModel.from_sizes(config)
        if trained is not None:
            for part, tensors in parts(model).items():
                for tensor in tensors:
                    tensor.requires_grad_(part in trained)
        h, w = work.height_px // 8, work.width_px // 8
        inputs = {
            "latents": torch.empty(work.clips, work.frames, config.latent_channels, h, w),
            "timesteps": torch.empty(work.clips, dtype=torch.int64),
            "driven_frames": torch.empty(work.clips, work.frames, 3, work.height_px, work.width_px),
            "reference_latents": torch.empty(work.clips, config.latent_channels, h, w) if work.reference else None,
            "audio": torch.empty(work.clips, work.frames, config.audio_tokens, config.audio_width) if work.audio else None,
        }
        with torch.set_grad_enabled(backward), FlopCounterMode(display=False) as counter:
            out = model(**inputs)
            if backward:
                out.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("sizes", "stage", "work"),
    [
        ({}, 3, Work(frames=16)),
        (FEWER_BLOCKS, 1, Work(audio=False)),
        (FEWER_BLOCKS, 1, Work(audio=False, reference=False, height_px=256, width_px=384)),
        (FEWER_BLOCKS, 2, Work(clips=2)),
        (FEWER_BLOCKS, 3, Work(clips=2, frames=3, height_px=1024, width_px=1024)),
        pytest.param({}, 1, Work(audio=False), marks=pytest.mark.slow),
        pytest.param({}, 2, Work(clips=2), marks=pytest.mark.slow),
    ],
)
def test_forward_formula_equals_torchs_counter(sizes, stage, work):
    config = ModelConfig(**sizes).at_stage(stage)
    assert sum(forward_flops(config, work).values()) == pytest.approx(counted(config, work), rel=1e-3)


@pytest.mark.parametrize(
    ("stage", "work", "trained"),
    [
        (1, Work(clips=2, audio=False), None),
        (2, Work(clips=2), None),
        (3, Work(frames=16), {"temporal modules"}),
    ],
)
def test_training_formula_equals_torchs_counter(stage, work, trained):
    config = ModelConfig(**FEWER_BLOCKS).at_stage(stage)
    assert training_flops(config, work) == pytest.approx(counted(config, work, backward=True, trained=trained), rel=1e-3)


def test_published_figures():
    """PixArt-α without text at 512 px: 1048.5 GFLOP; a training sample of stage 1: 6.67 TFLOP, of stage 2: 7.16; a clip forward: 35.2."""
    full = ModelConfig()
    assert forward_flops(full.at_stage(1), Work())["denoising transformer"] / 1e9 == pytest.approx(1048.5, rel=1e-3)
    assert training_flops(full.at_stage(1), Work(audio=False)) / 1e12 == pytest.approx(6.67, rel=2e-3)
    assert training_flops(full.at_stage(2), Work()) / 1e12 == pytest.approx(7.16, rel=2e-3)
    assert sum(forward_flops(full, Work(frames=16)).values()) / 1e12 == pytest.approx(35.2, rel=2e-3)


def test_stage_parameters():
    totals = [sum(parameter_table(ModelConfig().at_stage(stage)).values()) for stage in (1, 2, 3)]
    assert totals == [896_295_256, 995_514_712, 1_404_601_432]


@pytest.mark.parametrize("name", ["paper.yaml", "embedded.yaml"])
def test_shipped_configurations_are_whole(name):
    config = ModelConfig.from_yaml(CONFIGS / name)
    assert sum(forward_flops(config, Work(height_px=128, width_px=128, frames=2)).values()) > 0
    if name == "paper.yaml":
        assert config == ModelConfig(audio_norm=True)


def test_summary_command(capsys):
    assert main(["summary", "--config", str(CONFIGS / "paper.yaml"), "--stage", "2", "--frames", "1"]) == 0
    printed = capsys.readouterr().out
    assert "995,514,712" in printed
    assert "temporal" not in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {num_layer: 3}", "did you mean 'num_layers'?"),
        ("model: [1", "is not YAML"),
        ("codec: dct", "no `model:` section"),
        (None, "no configuration file"),
    ],
)
def test_summary_errors_are_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["summary", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_importing_the_package_loads_no_torch():
    code = "import sys, inference.models, inference.models.config, inference.models.flops; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
