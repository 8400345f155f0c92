"""What a pipeline is made of, from configs/inference/PROFILE.yaml: model sizes, latent codec, audio encoder, picture size and rate.

Trainer and pipeline build codec and audio encoder here, so latents and sound features are the same for both. Importing loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.face_crop import HEAD_SCALE
from inference.models.config import PX_PER_CELL, ModelConfig
from manifests import configuration
from manifests.config_files import config_file
from manifests.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import torch

    from inference.models.audio_encoders import AudioEncoder
    from inference.models.codecs import LatentCodec

CONFIGS = config_file("inference")
MAX_SIZE_PX = 4096  # as portraits are read
CODECS = ("block_dct", "vae")
AUDIO_ENCODERS = ("logmel", "whisper")
PATCH_RULES = ("clip", "frame")  # of `inference.driving.regions`
CONDITIONS = ("reference", "driven", "audio", "all")
PACKAGED = Path(__file__).parents[1] / "weights"  # what is trained already; docs/weights.md
PACKAGED_DECODER = PACKAGED / "decoder.safetensors"
NOTHING = "no condition"  # the combination that holds none
REPOSITORIES = {"vae": "stabilityai/sd-vae-ft-ema", "whisper": "openai/whisper-tiny"}


@dataclass(frozen=True)
class CodecConfig:
    """Images ↔ latents.

    Attributes:
        kind: block_dct (no weights) or vae (Stable Diffusion's).
        path: vae: a folder in diffusers' layout; a relative one is looked for in the working directory, then in the models directories
            ($MEGACTOR_MODELS, the user's cache).
        decoder: block_dct: "packaged" for the learnt decoder that comes with the package and hides the blocks' edges
            (`inference.models.forgiving_decoder`), or a file of `python -m training codec`; None decodes block by block. Latents are the
            same with all of them.
    """

    kind: str = "block_dct"
    path: str | None = None
    decoder: str | None = None

    def __post_init__(self) -> None:
        if self.decoder is not None and self.kind != "block_dct":
            raise UserError(f"codec.decoder is {self.decoder!r}, which is for block_dct; codec.kind {self.kind} has its own")
        _check_kind("codec", self.kind, self.path, CODECS, with_weights="vae")


@dataclass(frozen=True)
class AudioConfig:
    """Sound → features at 50 Hz.

    Attributes:
        kind: logmel (no weights) or whisper (the encoder's hidden states).
        path: whisper: a folder in transformers' layout; looked for as the codec's.
    """

    kind: str = "logmel"
    path: str | None = None

    def __post_init__(self) -> None:
        _check_kind("audio", self.kind, self.path, AUDIO_ENCODERS, with_weights="whisper")


@dataclass(frozen=True)
class InferenceConfig:
    """Everything that trainer and pipeline must agree on.

    Attributes:
        profile: a name for messages (embedded, paper).
        model: sizes of the network.
        size_px: height and width of the pictures that it sees and makes.
        fps: frames a second of its training clips, and of videos made from sound alone.
        landmarks: backend that finds the faces of portraits and drivers (`curation.landmarks`): facemesh or dwpose.
        crop_scale: side of the crop in units of the face's landmark box (`curation.face_crop`).
        patch_rule: how the driver's patches are cut, "clip" or "frame" (`inference.driving.regions.clip_patches`). A saved configuration
            without it is of a model that was trained on "frame".
        most_steps: sampling takes no more steps than these, whatever a preset says: for a model that was trained to be sampled in a few,
            which more steps make grainy (`data.timestep_shift`). None is no limit.
        most_guidance: guidance over all conditions is no stronger than this, whatever a preset says: for a model on which more of it draws
            the driver's own brows and lids. None is no limit.
        mouth_guidance: in the mouth's region where `mouth_guidance_scale` is not given, for a model that follows mouths weakly. None leaves
            it with the rest.
        sound_guidance: of sound where `audio_guidance_scale` is not given, for a model that hears weakly. None leaves it with the rest.
        grey_driver: the driver loses its colour. Training sets it where it showed none (`data.augment.grey_share` 1).
    """

    profile: str = "embedded"
    model: ModelConfig = field(default_factory=ModelConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    size_px: int = 512
    fps: float = 25.0
    landmarks: str = "facemesh"
    crop_scale: float = HEAD_SCALE
    patch_rule: str = "frame"
    most_steps: int | None = None
    most_guidance: float | None = None
    mouth_guidance: float | None = None
    sound_guidance: float | None = None
    grey_driver: bool = False

    def __post_init__(self) -> None:
        side = PX_PER_CELL * self.model.patch_size * self.model.temporal_window
        if self.size_px < side or self.size_px % side:
            raise UserError(f"size_px is {self.size_px}; it must be a multiple of {side}")
        if self.size_px > MAX_SIZE_PX:
            raise UserError(f"size_px is {self.size_px}; it must be at most {MAX_SIZE_PX}")
        if self.most_steps is not None and self.most_steps < 1:
            raise UserError(f"most_steps is {self.most_steps}; it must be 1 or more, or null")
        for name in ("most_guidance", "mouth_guidance", "sound_guidance"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 30:
                raise UserError(f"{name} is {value}; it must lie in 0…30, or be null")
        if not 1 <= self.fps <= 120:
            raise UserError(f"fps is {self.fps}; it must lie in 1…120")
        if not 1 <= self.crop_scale <= 10:
            raise UserError(f"crop_scale is {self.crop_scale}; it must lie in 1…10")
        if self.patch_rule not in PATCH_RULES:
            raise UserError(f"patch_rule is {self.patch_rule!r}{did_you_mean(self.patch_rule, PATCH_RULES)}")

    @property
    def latent_grid(self) -> tuple[int, int]:
        """Height and width of the latents, in cells."""
        return self.size_px // PX_PER_CELL, self.size_px // PX_PER_CELL

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> InferenceConfig:
        """From plain values (YAML, JSON); an unknown key is a `UserError` that suggests the nearest."""
        return configuration.build(cls, tree)

    def to_tree(self) -> dict[str, Any]:
        return configuration.to_tree(self)


@dataclass(frozen=True)
class TrainingRecord:
    """What a saved pipeline says about its training; guidance may drop only what training dropped.

    Attributes:
        stage: 1, 2 or 3.
        step: optimiser steps of that stage.
        dropout: probability with which a training sample lost a condition: keys `reference`, `driven`, `audio`, `all`; a missing key was
            never dropped by itself.
        regions: settings of the driving patches (`inference.driving.regions`).
        code_version: of the trainer.
        combinations: conditions that its samples saw together (`combination`) -> their share; empty where the trainer did not say.
        trained_on: a few words about the clips, for people; empty where the trainer did not say.
    """

    stage: int = 3
    step: int = 0
    dropout: dict[str, float] = field(default_factory=dict)
    regions: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""
    combinations: dict[str, float] = field(default_factory=dict)
    trained_on: str = ""

    def __post_init__(self) -> None:
        if self.stage not in (1, 2, 3):
            raise UserError(f"stage is {self.stage}; it must be 1, 2 or 3")
        for name, rate in self.dropout.items():
            if name not in CONDITIONS or not 0 <= rate <= 1:
                raise UserError(f"dropout {name} is {rate}; it needs one of {', '.join(CONDITIONS)} and a probability")


def combination(*, eyes: bool, mouth: bool, audio: bool, reference: bool) -> str:
    """The name of what a sample sees together, such as "eyes+audio+reference", or `NOTHING`."""
    seen = {"eyes": eyes, "mouth": mouth, "audio": audio, "reference": reference}
    return "+".join(name for name, is_seen in seen.items() if is_seen) or NOTHING


def load_inference_config(profile: str = "embedded", overrides: tuple[str, ...] = ()) -> InferenceConfig:
    """`profile` names configs/inference/PROFILE.yaml or is the path of a YAML file; `overrides` are dotted (`codec.path=models/vae`).

    Raises:
        UserError: one line that names the key or the file.
    """
    named = CONFIGS / f"{profile}.yaml"
    file = named if named.is_file() and "/" not in profile else Path(profile)
    if not file.is_file():
        known = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "presets")
        raise UserError(f"no inference profile {profile!r}{did_you_mean(profile, known)}")
    return configuration.load(InferenceConfig, [file], overrides)


def build_codec(
    config: InferenceConfig, device: torch.device | str = "cpu", dtype: torch.dtype | None = None, at_once: int = 1
) -> LatentCodec:
    """The latent codec; `dtype` is of the VAE's weights (float32 if None), `at_once` of its pictures go through it together.

    Raises:
        UserError: no weights (the message says how to get them), or latents of another width than the model's.
    """
    if config.codec.kind == "vae":
        import torch

        from inference.models.codecs import VaeCodec

        codec: LatentCodec = VaeCodec.from_pretrained(find_weights("vae", config.codec.path), dtype or torch.float32, device, at_once)
    elif config.codec.decoder is not None:
        from inference.models.forgiving_decoder import ForgivingDctCodec, ForgivingDecoder

        file = PACKAGED_DECODER if config.codec.decoder == "packaged" else Path(config.codec.decoder).expanduser()
        codec = ForgivingDctCodec(ForgivingDecoder.from_file(file, device))
    else:
        from inference.models.block_dct import BlockDctCodec

        codec = BlockDctCodec()
    if codec.latent_channels != config.model.latent_channels:
        raise UserError(
            f"codec {config.codec.kind} has {codec.latent_channels} latent channels, the model {config.model.latent_channels}: "
            "set model.latent_channels or codec.kind"
        )
    return codec


def build_audio_encoder(config: InferenceConfig, device: torch.device | str = "cpu") -> AudioEncoder:
    """The sound encoder.

    Raises:
        UserError: no weights (the message says how to get them), or features of another shape than the model's.
    """
    from inference.models.audio_encoders import LogMelEncoder, WhisperStateEncoder
    from inference.models.audio_rows import ROWS_PER_FRAME

    encoder: AudioEncoder
    if config.audio.kind == "whisper":
        encoder = WhisperStateEncoder.from_pretrained(find_weights("whisper", config.audio.path), device)
    else:
        encoder = LogMelEncoder()
    made, needed = (encoder.width, ROWS_PER_FRAME * encoder.num_states), (config.model.audio_width, config.model.audio_tokens)
    if made != needed:
        raise UserError(
            f"audio encoder {config.audio.kind} gives {made[1]} tokens of width {made[0]} a frame, the model takes {needed[1]} of "
            f"{needed[0]}: set model.audio_tokens and model.audio_width, or audio.kind"
        )
    return encoder


def find_weights(kind: str, path: str | None) -> Path:
    """The folder of a codec's or audio encoder's weights.

    Raises:
        UserError: it is nowhere; the message holds the command that gets it.
    """
    from curation.weights.store import Store

    repository = REPOSITORIES[kind]
    given = Path(path or repository.rsplit("/", 1)[-1]).expanduser()
    directories = Store.standard().directories
    for folder in (given, *(directory / given for directory in directories)):
        if (folder / "config.json").is_file():
            return folder
    target = given if given.is_absolute() else directories[0] / given
    raise UserError(f"no {kind} weights at {target}; get them by `hf download {repository} --local-dir {target}`")


def _check_kind(section: str, kind: str, path: str | None, known: tuple[str, ...], with_weights: str) -> None:
    if kind not in known:
        raise UserError(f"{section}.kind is {kind!r}{did_you_mean(kind, known)}")
    if path is not None and kind != with_weights:
        raise UserError(f"{section}.path is {path!r}, but {section}.kind {kind} has no weights")
