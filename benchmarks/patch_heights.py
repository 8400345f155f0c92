"""`python -m benchmarks.patch_heights --manifest outputs/curation`: does the shape of the mouth's patch tell how far the mouth is open?

For each clip of a manifest, by each rule of cutting patches: the correlation over time of the patch's visible height, and of the place of
its lower edge below the nose, with the distance between the inner lips. Prints medians and maxima of the absolute values; exit code 1 if a
height of the rule that the profile trains with reaches BAR.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import manifests
from curation import face_crop
from curation.landmarks.sixty_eight import RIGID, interocular
from inference.driving.regions import PATCH_RULES, patch_boxes
from inference.models.components import load_inference_config
from manifests import LandmarkIndex, UserError

BAR = 0.2
MIN_MOVES = 0.03  # of the distance between the eyes: deviation of the opening, below which there is nothing to tell


def correlations(points_px: np.ndarray, size_px: int, rule: str) -> tuple[float, float] | None:
    """|r| of (height, lower edge) with the opening of the mouth; None where it does not move. A constant has correlation 0."""
    points = points_px[np.isfinite(points_px).all(axis=(1, 2))]
    if len(points) < 25:
        return None
    unit = interocular(points)
    opening = np.linalg.norm(points[:, 66] - points[:, 62], axis=-1) / unit
    if opening.std() < MIN_MOVES:
        return None
    mouth = patch_boxes(points, size_px, rule).mouth
    heights = (mouth[:, 3] - mouth[:, 1]) / np.median(unit)
    lower = (mouth[:, 3] - points[:, RIGID, 1].mean(axis=1)) / np.median(unit)
    found = [0.0 if values.std() < 1e-9 else abs(float(np.corrcoef(values, opening)[0, 1])) for values in (heights, lower)]
    return found[0], found[1]


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.patch_heights", description=__doc__, formatter_class=plain)
    parser.add_argument("--manifest", default="outputs/curation")
    parser.add_argument("--where", default="landmark_hz > 0", help="a pandas query")
    parser.add_argument("--config", default="embedded", help="configs/inference/CONFIG.yaml: size and crop")
    options = parser.parse_args(arguments)
    config, index = load_inference_config(options.config), LandmarkIndex(options.manifest)
    found: dict[str, list[tuple[float, float]]] = {rule: [] for rule in PATCH_RULES}
    for row in manifests.load(options.manifest).query(options.where).to_dict("records"):
        try:
            points = index.load(row["clip_id"]).points_px.astype(np.float64)
            matrix = face_crop.crop_matrix(face_crop.clip_square(points, config.crop_scale), config.size_px)
        except UserError:
            continue
        by_rule = [correlations(face_crop.transform_points(points, matrix), config.size_px, rule) for rule in PATCH_RULES]
        if by_rule[0] is not None:
            for rule, values in zip(PATCH_RULES, by_rule, strict=True):
                found[rule].append(values)
    if not found[config.patch_rule]:
        print("error: no clip whose mouth moves", file=sys.stderr)
        return 2
    for rule, rows in found.items():
        height, lower = np.array(rows).T
        print(
            f"rule {rule:<5} {len(rows)} clips at {config.size_px} px: |r| with the opening: height median {np.median(height):.2f}, "
            f"max {height.max():.2f}; lower edge median {np.median(lower):.2f}, max {lower.max():.2f}"
        )
    return int(max(height for height, _ in found[config.patch_rule]) >= BAR)


if __name__ == "__main__":
    sys.exit(main())
