"""Where the driver's face lies on the model's picture: over the portrait's face, by one constant map."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import RIGID

RETARGETS = ("face", "box", "none")


def retarget_matrix(driver_points_px: np.ndarray, reference_points_px: np.ndarray, how: str = "face") -> np.ndarray:
    """The map from driver px to the px of the portrait's crop, from the landmarks of one driver frame (the first that shows the face).

    Args:
        driver_points_px: (68, 2) on the driver's frame.
        reference_points_px: (68, 2) on the portrait's crop.
        how: `face` puts the centroid of the rigid landmarks over the portrait's and makes their spread equal (one zoom);
            `box` puts the box of all landmarks over the portrait's (a zoom an axis, as MegActor's published code does), which suits the
            mouth's height to another face's proportions and stretches the patches.

    Returns:
        (2, 3) float64. Nothing is turned: a head that leans stays leaning.
    """
    driver, reference = np.asarray(driver_points_px, np.float64), np.asarray(reference_points_px, np.float64)
    if how == "face":
        driver, reference = driver[RIGID], reference[RIGID]
        centres = driver.mean(axis=0), reference.mean(axis=0)
        zoom = np.full(2, np.linalg.norm(reference - centres[1]) / np.linalg.norm(driver - centres[0]))
    elif how == "box":
        boxes = (driver.min(axis=0), driver.max(axis=0)), (reference.min(axis=0), reference.max(axis=0))
        centres = tuple((low + high) / 2 for low, high in boxes)
        zoom = np.ptp(reference, axis=0) / np.ptp(driver, axis=0)
    else:
        raise ValueError(f"unknown retargeting {how!r}: one of {', '.join(RETARGETS)}")
    return np.column_stack([np.diag(zoom), centres[1] - zoom * centres[0]])
