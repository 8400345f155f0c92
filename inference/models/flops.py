"""Floating-point operations of the matrix products, convolutions and attentions, a multiply-add counted as two.

Closed forms of the configuration and the shapes; torch's FlopCounterMode agrees within 0.1 % (see the tests). The trainer's utilisation
uses the same functions: recomputation, autoencoder and Whisper are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.models.config import ModelConfig

PARTS = ("denoising transformer", "reference transformer", "reference attention", "audio attention", "temporal modules", "driven encoder")


@dataclass(frozen=True)
class Work:
    """One forward's batch: clips of frames of height × width pixels."""

    clips: int = 1
    frames: int = 1
    height_px: int = 512
    width_px: int = 512
    reference: bool = True
    audio: bool = True


@dataclass(frozen=True)
class _Cost:
    """`linear` counts products with weights, `attention` the two products of scores and values; their backward passes differ."""

    linear: float = 0.0
    attention: float = 0.0

    @property
    def forward(self) -> float:
        return self.linear + self.attention


def forward_flops(config: ModelConfig, work: Work) -> dict[str, float]:
    """FLOPs by part; "reference attention" is what reading the reference adds to the denoiser, projection of its keys included."""
    return {part: cost.forward for part, cost in _costs(config, work).items()}


def training_flops(config: ModelConfig, work: Work, stage: int | None = None) -> float:
    """FLOPs of one forward and backward pass of a stage's training step.

    Stages 1 and 2 train every layer: twice the forward for the backward. Stage 3 trains the temporal modules; the gradient passes through
    the frozen layers from the first module (block 1) on, for their inputs only, and not into reference or driven encoder. An attention over
    own and reference keys together has one backward pass, which yields the gradient of both.
    """
    stage = config.stage if stage is None else stage
    costs = _costs(config, work)
    forward = sum(cost.forward for cost in costs.values())
    if stage < 3:
        return 3 * forward
    layers, temporal = config.num_layers, costs["temporal modules"]
    block = _block(config, work)
    # Of block 1 the gradient passes its temporal module, audio attention and feed-forward; block 0 and block 1's attention lie below it.
    dense = (layers - 2) * block.linear + _feed_forward(config, work) + _output(config, work)
    own_attention = (layers - 2) * 2 * block.attention
    reading = len([index for index in config.reference_blocks if index >= 2])
    read = reading * 2 * _read_attention(config, work) if work.reference else 0.0
    audio = (layers - 1) * sum(_audio_backward_input(config, work)) if config.with_audio and work.audio else 0.0
    return forward + 2 * temporal.forward + dense + own_attention + read + audio


def _tokens(config: ModelConfig, work: Work) -> int:
    return (work.height_px // 8 // config.patch_size) * (work.width_px // 8 // config.patch_size)


def _block(config: ModelConfig, work: Work) -> _Cost:
    tokens = _tokens(config, work)
    queries = work.clips * work.frames * tokens
    return _Cost(linear=24 * config.width**2 * queries, attention=4 * queries * tokens * config.width)


def _feed_forward(config: ModelConfig, work: Work) -> float:
    return 16 * config.width**2 * work.clips * work.frames * _tokens(config, work)


def _output(config: ModelConfig, work: Work) -> float:
    return 4 * config.width * config.patch_size**2 * config.latent_channels * work.clips * work.frames * _tokens(config, work)


def _timestep(config: ModelConfig, work: Work) -> float:
    return 2 * work.clips * config.width * (256 + config.width + 6 * config.width)


def _patch(config: ModelConfig, work: Work, channels: int, frames: int) -> float:
    return 2 * work.clips * frames * _tokens(config, work) * channels * config.patch_size**2 * config.width


def _read_attention(config: ModelConfig, work: Work) -> float:
    return 4 * work.clips * work.frames * _tokens(config, work) ** 2 * config.width


def _audio_backward_input(config: ModelConfig, work: Work) -> tuple[float, float]:
    """Input gradients of one frozen audio layer: through its two projections of the tokens, and through the attention to the queries."""
    queries = work.clips * work.frames * _tokens(config, work)
    return 4 * config.width**2 * queries, 4 * queries * config.audio_tokens * config.width


def _costs(config: ModelConfig, work: Work) -> dict[str, _Cost]:
    width, tokens, clips = config.width, _tokens(config, work), work.clips
    queries = clips * work.frames * tokens
    block = _block(config, work)
    costs = {
        "denoising transformer": _Cost(
            linear=config.num_layers * block.linear
            + _timestep(config, work)
            + _patch(config, work, config.latent_channels + config.driven_channels + config.copied_channels, work.frames)
            + _output(config, work),
            attention=config.num_layers * block.attention,
        ),
        "driven encoder": _Cost(linear=_driven_encoder(config, work)),
    }
    if work.reference:
        blocks, reading = config.num_layers - 1, len(config.reference_blocks)
        costs["reference transformer"] = _Cost(
            linear=blocks * 24 * width**2 * clips * tokens + _timestep(config, work) + _patch(config, work, config.latent_channels, 1),
            attention=blocks * 4 * clips * tokens**2 * width,
        )
        costs["reference attention"] = _Cost(
            linear=reading * 4 * width**2 * clips * tokens, attention=reading * _read_attention(config, work)
        )
    if config.with_audio and work.audio:
        sounds = clips * work.frames * config.audio_tokens
        costs["audio attention"] = _Cost(
            linear=config.num_layers * (4 * width**2 * queries + 4 * config.audio_width * width * sounds),
            attention=config.num_layers * 4 * queries * config.audio_tokens * width,
        )
    modules = len(config.temporal_blocks)
    window = config.temporal_window**2 * work.frames
    costs["temporal modules"] = _Cost(linear=modules * 44 * width**2 * queries, attention=modules * 8 * queries * window * width)
    return {part: costs[part] for part in PARTS if part in costs and costs[part].forward}


def _driven_encoder(config: ModelConfig, work: Work) -> float:
    """The convolutions of `DrivenEncoder`: (in, out, kernel, pixels a side of an output cell)."""
    layers = (
        (3, 3, 3, 1), (3, 16, 4, 2), (16, 16, 3, 2), (16, 32, 4, 4), (32, 32, 3, 4), (32, 64, 4, 8), (64, 64, 3, 8), (64, 128, 3, 8),
        (128, config.driven_channels, 1, 8),
    )  # fmt: skip
    per_pixel = sum(2 * c_in * c_out * kernel**2 / side**2 for c_in, c_out, kernel, side in layers)
    return per_pixel * work.clips * work.frames * work.height_px * work.width_px
