"""Where ArcFace wants a face: the alignment that its embeddings, and swappers built on them, were trained with."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import eye_centres

ARCFACE_PX = 112
# InsightFace's template at 112 px: eye centres, nose tip, mouth corners, from the left of the picture; here pixel i covers i..i+1.
TEMPLATE_PX = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]) + 0.5
_NOSE_TIP, _MOUTH_CORNERS = 30, [48, 54]


def alignment(points_px: np.ndarray, size_px: int = ARCFACE_PX) -> np.ndarray:
    """(2, 3): the similarity that best takes a face's five points to ArcFace's places, in a picture of `size_px`; for `face_crop.warp`.

    As in InsightFace, multiples of 112 px scale the 112 px template, other sizes hold it with 8/128 of margin at either side.

    Args:
        points_px: (68, 2), pixel i covering i..i+1.
    """
    zoom, margin = (size_px / 112, 0.0) if size_px % 112 == 0 else (size_px / 128, 8 * size_px / 128)
    wanted = TEMPLATE_PX * zoom + [margin, 0.0]
    five = np.stack([*eye_centres(points_px), points_px[_NOSE_TIP], *points_px[_MOUTH_CORNERS]]).astype(np.float64)
    # As complex numbers, a similarity is w = a z + b; least squares in closed form.
    z, w = five @ [1, 1j], wanted @ [1, 1j]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / max(np.vdot(centred, centred).real, 1e-12)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
