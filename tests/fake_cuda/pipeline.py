"""`python -m tests.fake_cuda.pipeline`: the inference pipeline at the paper's size on fake CUDA tensors; facts as JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from inference.models import SCHEDULE, MegActorModel
from inference.models.components import TrainingRecord, load_inference_config
from inference.pipeline import MegActorSigmaPipeline
from inference.sampling.samplers import SAMPLERS
from inference.sampling.settings import SamplingSettings
from tests.fake_cuda.networks import sd_vae
from tests.fake_cuda.watch import Watch


def sampler(name: str) -> Any:
    """A sampler whose tables stay real: it makes them with numpy, and looks its place up in them, which fake tensors cannot answer."""
    class_name, settings = SAMPLERS[name]
    original = getattr(diffusers, class_name)

    class RealTables(original):
        def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
            with unset_fake_temporarily():
                super().set_timesteps(*args, **kwargs)

        def _init_step_index(self, timestep: Any) -> None:
            self._step_index = 0

    return RealTables(**SCHEDULE.scheduler_config(), **settings)


def facts_of(name: str, frames: int, steps: int) -> dict[str, Any]:
    settings = load_inference_config("paper")
    decoded: list[torch.Size] = []

    def to_uint8(images: torch.Tensor, first_frame: int) -> np.ndarray:
        """The last thing that happens to pictures is that they leave the device: here there is nothing to take."""
        assert images.device.type == "cuda"
        decoded.append(images.shape)
        return np.zeros((len(images), *images.shape[2:], 3), np.uint8)

    scheduler = sampler(name)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, Watch() as watch, torch.no_grad(), mock.patch("inference.pipeline.pipeline.to_uint8", to_uint8):
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("cuda"):
            model, vae = MegActorModel.from_sizes(settings.model).eval(), sd_vae()
        torch.set_default_dtype(torch.float32)
        pipe = MegActorSigmaPipeline(model, scheduler, vae.module, settings, TrainingRecord(3, 0, {"all": 0.05}))
        side, audio = settings.size_px, (settings.model.audio_tokens, settings.model.audio_width)
        watch.restart()
        answer = pipe.generate(
            torch.zeros(1, 3, side, side, dtype=torch.uint8),
            torch.zeros(1, frames, 3, side, side, dtype=torch.uint8),
            torch.zeros(1, frames, *audio),
            SamplingSettings(num_inference_steps=steps, guidance_scale=2.0),
            seeds=[0],
        )
    return watch.facts() | {
        "sampler": name,
        "frames": list(answer.shape),
        "decoded": sum(shape[0] for shape in decoded),
        "dtypes": sorted({str(p.dtype) for p in model.parameters()}),
        "weights_gb": sum(p.nbytes for p in [*model.parameters(), *vae.module.parameters()]) / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sampler", action="append", choices=sorted(SAMPLERS), help="default: dpmsolver++")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps([facts_of(name, options.frames, options.steps) for name in options.sampler or ["dpmsolver++"]]))


if __name__ == "__main__":
    main()
