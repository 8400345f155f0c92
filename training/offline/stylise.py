"""Stylisation by diffusers' SDXL image-to-image: the same frames painted in another style."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifests.errors import UserError

FOLDER, REPOSITORY = "stable-diffusion-xl-base-1.0", "stabilityai/stable-diffusion-xl-base-1.0"


@dataclass(frozen=True)
class StyliseConfig:
    """Settings of the pipeline.

    Attributes:
        path: a folder in diffusers' layout; a relative one is looked for in the working directory, then in the models directories.
        prompts: one is drawn for each clip.
        strength: 0..1, how much of the picture is painted anew. Much more moves eyes and mouth.
        steps, guidance_scale: of the sampler.
    """

    path: str = FOLDER
    prompts: tuple[str, ...] = (
        "portrait, oil painting",
        "portrait, watercolour",
        "portrait, anime style",
        "portrait, pencil sketch",
        "portrait, 3d animation film",
        "portrait, marble statue",
    )
    strength: float = 0.4
    steps: int = 25
    guidance_scale: float = 5.0

    def __post_init__(self) -> None:
        if not self.prompts or not 0 < self.strength <= 1 or self.steps < 1 or self.guidance_scale < 0:
            raise ValueError("prompts needs a text, strength must lie in 0..1, steps must be 1 or more, guidance_scale 0 or more")


class SdxlStylist:
    """Raises:
    UserError: no weights; the message holds the command that gets them.
    """

    def __init__(self, config: StyliseConfig, device: str):
        folder = find_pipeline(config.path)
        import torch
        from diffusers import StableDiffusionXLImg2ImgPipeline

        self._config, self._device = config, device
        try:
            self._pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(
                str(folder),
                torch_dtype=torch.float16 if device == "cuda" else torch.float32,
                use_safetensors=True,
                local_files_only=True,
                add_watermarker=False,
            ).to(device)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{folder} holds no SDXL pipeline in safetensors: {' '.join(str(error).split())[:300]}") from error
        self._pipeline.set_progress_bar_config(disable=True)

    def stylise(self, pictures: np.ndarray, prompt: str, seed: int) -> np.ndarray:
        """(F, S, S, 3) uint8, each frame from the same noise, so that neighbours look alike. S must be a multiple of 8."""
        import torch
        from PIL import Image

        painted = []
        for picture in pictures:
            result = self._pipeline(
                prompt=prompt,
                image=Image.fromarray(picture),
                strength=self._config.strength,
                num_inference_steps=self._config.steps,
                guidance_scale=self._config.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
            ).images[0]
            painted.append(np.round(np.clip(result, 0, 1) * 255).astype(np.uint8))
        return np.stack(painted)


def find_pipeline(path: str) -> Path:
    """The folder of the pipeline's weights.

    Raises:
        UserError: it is nowhere.
    """
    from curation.weights.store import Store

    given = Path(path).expanduser()
    directories = Store.standard().directories
    for folder in (given, *(directory / given for directory in directories)):
        if (folder / "model_index.json").is_file():
            return folder
    target = given if given.is_absolute() else directories[0] / given
    raise UserError(f"no SDXL pipeline at {target}; get it by `hf download {REPOSITORY} --local-dir {target}`")
