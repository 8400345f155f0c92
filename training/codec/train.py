"""Trains the forgiving decoder: pictures → latents → disturbed → decoded, by L1 of pixels and of their gradients.

What a model predicts is wrong in its own way. Once there is a model, the decoder is trained on with its predictions among the latents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from curation.job.lock import hold_file
from curation.live_line import LiveLine
from curation.wording import duration
from inference.models.block_dct import DEVIATION, BlockDctCodec
from inference.models.components import load_inference_config
from inference.models.config import PX_PER_CELL
from inference.models.forgiving_decoder import ForgivingDecoder
from manifests.atomic import atomic_path
from manifests.errors import UserError
from training.codec.pictures import batches, load_faces, load_photographs
from training.codec.predictions import load_predictions
from training.data.draws import draws

STATE_SUFFIX = ".state.safetensors"  # beside the result: what a killed run continues from
_FINE = torch.tensor([deviation < 0.3 for deviation in DEVIATION])  # channels of detail, which a model under-estimates first


@dataclass(frozen=True)
class CodecTraining:
    """Attributes:
    steps, batch_size, lr: of AdamW; the rate falls by a cosine to 0.
    noise: deviation of the noise on the latents, drawn from 0 to this for each picture; half of the pictures have at most a sixth of it.
    faded_share: of the pictures whose channels of detail shrink by a factor between 0.3 and 1, as means of a prediction do.
    gradient_weight: of the error of neighbouring pixels' differences.
    border_weight: of those of them that cross a multiple of 8 px, where blocks show.
    predicted_share: of the pictures whose latents a model predicted, where one is given.
    predictions: how many of these are made.
    frames_per_clip: faces that each clip gives.
    every_steps: between two savings.
    """

    steps: int = 3000
    batch_size: int = 8
    lr: float = 1e-3
    noise: float = 0.7
    faded_share: float = 0.3
    gradient_weight: float = 1.0
    border_weight: float = 3.0
    predicted_share: float = 0.5
    predictions: int = 1500
    frames_per_clip: int = 6
    every_steps: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.frames_per_clip, self.every_steps) < 1 or self.lr <= 0 or self.seed < 0:
            raise ValueError("steps, batch_size, frames_per_clip, every_steps and lr must be positive, seed 0 or more")


def is_finished(out: str | Path) -> bool:
    """Whether `train_codec` has written `out` to its end: a run that was killed leaves its state beside it."""
    target = Path(out)
    return target.is_file() and not _state_of(target).is_file()


def _state_of(target: Path) -> Path:
    return target.with_name(target.name + STATE_SUFFIX)


def disturbed(latents: torch.Tensor, config: CodecTraining, step: int) -> torch.Tensor:
    """(B, C, h, w) latents as a network would get them wrong: noise, and faded detail."""
    rows = []
    for k, latent in enumerate(latents):
        rng = draws(config.seed, 1, step * config.batch_size + k, "disturbance")
        deviation = rng.uniform(0, config.noise) * (1 / 6 if rng.random() < 0.5 else 1)
        noise = torch.from_numpy(rng.standard_normal(latent.shape, dtype=np.float32)).to(latent)
        fade = rng.uniform(0.3, 1) if rng.random() < config.faded_share else 1.0
        factors = torch.where(_FINE, fade, 1.0).to(latent)[:, None, None]
        rows.append(latent * factors + deviation * noise)
    return torch.stack(rows)


def picture_loss(decoded: torch.Tensor, pictures: torch.Tensor, gradient_weight: float, border_weight: float = 1.0) -> torch.Tensor:
    """Mean absolute error of (B, 3, H, W) pixels, and of their differences to the next pixel right and below."""
    error = decoded - pictures
    total = error.abs().mean()
    for dim in (-1, -2):
        steps = error.diff(dim=dim).abs().movedim(dim, -1)
        crosses = torch.arange(1, steps.shape[-1] + 1, device=steps.device) % PX_PER_CELL == 0
        total = total + gradient_weight * (steps * torch.where(crosses, border_weight, 1.0)).mean()
    return total


def train_codec(
    config: CodecTraining,
    manifest: str,
    out: str,
    profile: str = "embedded",
    device: str = "cpu",
    init: str | None = None,
    model: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains, or continues the run that was killed; writes `out` (safetensors, float16).

    Args:
        init: a decoder to start from; None starts as the codec itself.
        model: a pipeline whose predictions are decoded too.

    Raises:
        UserError: no pictures, the state beside `out` is of another run, or another training writes `out`.
    """
    target = Path(out)
    with hold_file(target):
        return _train(config, manifest, target, profile, device, init, model, say)


def _train(
    config: CodecTraining,
    manifest: str,
    target: Path,
    profile: str,
    device: str,
    init: str | None,
    model: str | None,
    say: Callable[[str], None],
) -> Path:
    state_file, settings = _state_of(target), repr((config, manifest, profile, init, model))
    inference = load_inference_config(profile)
    faces, photographs = load_faces(manifest, inference, config.frames_per_clip, say), load_photographs()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        decoder = ForgivingDecoder().to(device)
    if init is not None:
        decoder = ForgivingDecoder.from_file(init, device).train().requires_grad_(True)
    predicted = None if model is None else load_predictions(model, manifest, config.predictions, config.seed, device, say)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=config.lr, weight_decay=0.0)
    step = _resume(decoder, optimiser, state_file, settings) if state_file.is_file() else 0
    say(f"decoder of {sum(p.numel() for p in decoder.parameters()):,} parameters: {len(faces):,} faces, {len(photographs)} photographs")
    codec, line, begun, first = BlockDctCodec(), LiveLine(), time.perf_counter(), step
    losses: list[torch.Tensor] = []
    for batch in batches(faces, photographs, config.batch_size, config.seed, step):
        if step >= config.steps:
            break
        pictures = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().to(device)
        latents = disturbed(codec.encode(pictures), config, step)
        if predicted is not None:
            latents, pictures = _with_predictions(latents, pictures, *predicted, config, step)
        loss = picture_loss(decoder(latents), pictures, config.gradient_weight, config.border_weight)
        for group in optimiser.param_groups:
            group["lr"] = config.lr * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.detach())
        step += 1
        left = duration(round((config.steps - step) * (time.perf_counter() - begun) / (step - first)))
        if line.is_live and line.is_due:
            line.show(f"step {step:,}/{config.steps:,}, {left} left")
        if step % config.every_steps == 0 or step == config.steps:
            line.clear()
            say(f"step {step:,}/{config.steps:,} | loss {float(torch.stack(losses).mean()):.4f} | {left} left")
            losses.clear()
            _keep(decoder, optimiser, state_file, step, settings)
            _write(decoder, target)
    state_file.unlink(missing_ok=True)
    return target


def _with_predictions(
    latents: torch.Tensor, pictures: torch.Tensor, predicted: torch.Tensor, targets: np.ndarray, config: CodecTraining, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch with some of its rows replaced by what the model predicted."""
    rng = draws(config.seed, 1, step, "predictions")
    for row in np.flatnonzero(rng.random(len(latents)) < config.predicted_share):
        one = int(rng.integers(len(predicted)))
        latents[row] = predicted[one].to(latents)
        pictures[row] = torch.from_numpy(targets[one]).permute(2, 0, 1).to(pictures) / 255
    return latents, pictures


def _write(decoder: ForgivingDecoder, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        save_file({name: tensor.half().cpu().contiguous() for name, tensor in decoder.state_dict().items()}, temporary)


def _keep(decoder: ForgivingDecoder, optimiser: torch.optim.Optimizer, file: Path, step: int, settings: str) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in decoder.named_parameters():
        moments = optimiser.state[parameter]
        tensors |= {name: parameter.detach(), f"{name}|first": moments["exp_avg"], f"{name}|second": moments["exp_avg_sq"]}
    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        save_file(on_cpu, temporary, {"step": str(step), "settings": settings})


def _resume(decoder: ForgivingDecoder, optimiser: torch.optim.Optimizer, file: Path, settings: str) -> int:
    with safe_open(file, framework="pt") as kept:
        about = kept.metadata()
        if about["settings"] != settings:
            raise UserError(f"{file} is of a run with other settings: give them again, or remove it to begin anew")
        step = int(about["step"])
        with torch.no_grad():
            for name, parameter in decoder.named_parameters():
                parameter.copy_(kept.get_tensor(name))
                moments = {"exp_avg": f"{name}|first", "exp_avg_sq": f"{name}|second"}
                optimiser.state[parameter] = {key: kept.get_tensor(at).to(parameter) for key, at in moments.items()}
                optimiser.state[parameter]["step"] = torch.tensor(float(step))
    return step
