"""`python -m benchmarks.mask_leak`: how much of the eyes reaches the mouth through an untrained model, under the masks of Eq. 2.

Draws the eye patches anew and measures by how much the residual stream of the mouth's tokens changes after the last block (RMS), as a
share of the change without a mask. Mouth tokens that the driven encoder itself reaches from the eyes are left out. Layers that are zero at
birth get random values; one sample, no reference and no sound, on the CPU. Exit code 1 if anything is left under a mask of all paths.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from inference.driving.regions import EYES, MOUTH, cut_patches, region_boxes, region_pixels
from inference.models import MegActorModel, ModelConfig, eye_mouth_mask
from inference.models.masks import EYE_DILATION_TOKENS, dilate, region_tokens


def frontal_points(size_px: int) -> np.ndarray:
    """(1, 68, 2) px: a schematic frontal face that fills the crop as `curation.face_crop` leaves it."""
    points = np.full((68, 2), 0.5)
    for eye, x in ((slice(36, 42), 0.38), (slice(42, 48), 0.62)):
        turn = np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
        points[eye] = np.stack([x + 0.05 * np.cos(turn), 0.42 + 0.015 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, 3 * np.pi, 20, endpoint=False)
    points[48:68] = np.stack([0.5 + 0.09 * np.cos(turn), 0.68 + 0.03 * np.sin(turn)], axis=1)
    points[:17] = np.stack([0.5 + 0.25 * np.cos(np.linspace(np.pi, 0, 17)), 0.5 + 0.32 * np.sin(np.linspace(np.pi, 0, 17))], axis=1)
    return size_px * points[None]


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mask_leak", description=__doc__, formatter_class=plain)
    parser.add_argument("--blocks", type=int, default=28)
    parser.add_argument("--size-px", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    config = ModelConfig(num_layers=options.blocks, first_reference_block=options.blocks - 1).at_stage(1)
    model = MegActorModel.from_sizes(config).eval()
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            if not parameter.any() and parameter.ndim > 1:
                torch.nn.init.xavier_uniform_(parameter)
    size = options.size_px
    boxes = region_boxes(frontal_points(size), size)
    eyes, mouth = (region_tokens(torch.from_numpy(region_pixels(boxes, region, size, size)))[None] for region in (EYES, MOUTH))
    counted = mouth & ~dilate(eyes, EYE_DILATION_TOKENS)  # the others hold what the driven encoder spills, without any attention
    rng = np.random.default_rng(options.seed)
    driven = [
        torch.from_numpy(cut_patches(rng.integers(0, 256, (1, size, size, 3), np.uint8), boxes, {EYES})).permute(0, 3, 1, 2)[None] / 255
        for _ in range(2)
    ]
    latents, timesteps = torch.randn(1, 1, 4, size // 8, size // 8), torch.tensor([700])
    last: list[torch.Tensor] = []
    model.denoiser.transformer_blocks[-1].register_forward_hook(lambda module, inputs, output: last.append(output))
    changes: dict[str, float] = {}
    begin = time.perf_counter()
    for name in ("no mask", "one_hop", "all"):
        mask = None if name == "no mask" else eye_mouth_mask(eyes, mouth, paths=name)
        last.clear()
        with torch.no_grad():
            for frames in driven:
                model(latents, timesteps, frames, region_mask=mask)
        change = (last[0] - last[1])[0, 0][counted.flatten()]
        changes[name] = change.square().mean().sqrt().item()
        share = changes[name] / changes["no mask"]
        print(f"{name:<8} the mouth changes by {changes[name]:.3e} RMS, {share:7.2%} of that without a mask", flush=True)
    print(f"{config.num_layers} blocks of width {config.width}, {size} px, {time.perf_counter() - begin:.0f} s")
    return 0 if changes["all"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
