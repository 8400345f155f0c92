"""README's picture: what the packaged model makes of the package's examples and of the astronaut, at the default preset.

    python -m benchmarks.picture --out docs/images/embedded.png

Left the portrait; above the driver at the moments in which its mouth differs most, below it the result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from curation.face_crop import warp
from curation.samples.portrait import portrait_path
from inference.driving import DrivingOptions, open_footage
from inference.evaluation.metrics.face import mouth_opening
from inference.pipeline import MegActorSigmaPipeline
from inference.sampling.settings import SamplingSettings
from inference.studio.app import EXAMPLES, examples
from inference.studio.loading import find_model
from inference.studio.presets import preset
from manifests import UserError

MOMENTS = 5


def moments(opening: np.ndarray, count: int = MOMENTS) -> list[int]:
    """Frames in the order of time at which a mouth is at evenly spread quantiles of its opening."""
    known = np.flatnonzero(np.isfinite(opening))
    order = known[np.argsort(opening[known], kind="stable")]
    return sorted(int(order[round(q * (len(order) - 1))]) for q in np.linspace(0, 1, count))


def rows(pipe: MegActorSigmaPipeline, portrait: str, driver: str, sampling: SamplingSettings) -> np.ndarray:
    """(2 S, (MOMENTS + 1) S, 3) uint8."""
    footage, side = open_footage(driver, pipe.landmarks), pipe.settings.size_px
    with pipe.prepare(portrait, footage, None, sampling, DrivingOptions(), generator=0) as animation:
        made = np.stack(list(animation.frames()))
        driving, reference = animation.sources.opened, animation.sources.portrait
        assert driving is not None
        assert reference is not None
        chosen = moments(mouth_opening(footage.points_px))
        drivers = [warp(footage.frame(k), driving.matrices[k], side) for k in chosen]
    first = np.concatenate([reference.crop, *drivers], axis=1)
    second = np.concatenate([np.full_like(reference.crop, 255), *(made[k] for k in chosen)], axis=1)
    return np.concatenate([first, second])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.picture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", default="docs/images/embedded.png")
    parser.add_argument("--preset", default="balanced")
    options = parser.parse_args()
    try:
        pipe = MegActorSigmaPipeline.from_pretrained(find_model(None))
        pairs = [*examples(), [str(portrait_path()), str(EXAMPLES / "speaks.mp4")]]
        picture = np.concatenate([rows(pipe, *pair, preset(options.preset).sampling) for pair in pairs])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Image.fromarray(picture).save(Path(options.out), optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
