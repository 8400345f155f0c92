"""The one picture that every sample clip is made of, taken apart: a cut-out head with a depth for every pixel, and what lies behind it.

The picture is scikit-image's `astronaut.png`, NASA's portrait of Eileen Collins (public domain). Outlines that no detector gives (hair,
lips, teeth, helmet ring) are traced by hand, in pixels of that picture; the face's own geometry comes from the face mesh. Coordinates
count from pixel edges: pixel i covers i..i+1.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.samples.splines import ThinPlate
from manifests import UserError

PORTRAIT_SIZE_PX = 512  # side of scikit-image's astronaut
TEXTURE_SCALE = 3  # texture pixels a portrait pixel, for the head
PLATE_SCALE = 2  # the same for the plate, which has nothing as fine as an eye
HEAD_BOX = (124, 0, 332, 262)  # x0, y0, x1, y1 of the part of the portrait that the head layer covers

# Hair, ears, jaw and neck, clockwise from the top of the hair, then down into the black collar where no edge shows.
_HEAD_OUTLINE = np.array([
    [237, 16], [248, 18], [262, 24], [276, 31], [286, 40], [296, 58], [299, 72], [301, 90], [296, 110], [285, 124], [277, 133],
    [268.5, 138], [265, 147], [260, 157.5], [256.6, 164], [254.8, 174], [253.2, 186], [262, 206], [266, 240], [192, 240], [187, 206],
    [187, 187], [186.5, 170], [186, 150], [183, 135], [180.5, 131.5], [177, 130], [172, 125], [170, 116], [167, 115], [157, 104],
    [154, 92], [153, 68], [156, 58], [163, 51], [174, 43], [185, 38], [191, 33], [193, 29], [205, 21], [212, 22], [219, 18], [227, 16],
])  # fmt: skip
# Depths that the mesh does not know, as x, y, depth: the fringe over the forehead, and the neck with its collar.
_FRINGE = np.array([[226, 34, 14], [205, 40, 16], [248, 40, 16], [226, 46, 3]], float)
_NECK = np.array([
    [222, 194, 25], [200, 191, 29], [245, 191, 29], [188, 178, 32], [253, 180, 32], [222, 215, 26], [190, 215, 33], [258, 215, 33],
    [222, 250, 28], [185, 250, 34], [262, 250, 34],
], float)  # fmt: skip
_JAW_SIDES = np.array([[181, 137], [183, 146], [185, 156], [186, 166], [268, 138.5], [265, 148], [260, 158], [256, 168]])
_FACE_CENTRE = np.array([224.0, 150.0])
_DEEPEST_PX = 58.0  # portrait px: the surface is cut off there, where the mesh says nothing of the head's back
_HAIR_CENTRE = np.array([226.0, 92.0])
_COLLAR_TOP_Y = 188.0  # below this line the head layer is black cloth and may fade out unseen

# The helmet ring where head and neck hide it: outer edge and inner edge, from its visible left end to its visible right end.
_RING_OUTER = np.array([[176, 148.2], [186, 148.6], [200, 150], [220, 155.5], [240, 164.5], [256, 175.2], [262, 179.0]])
_RING_INNER = np.array([[176, 153.8], [186, 154.3], [200, 156.8], [220, 162.6], [238, 170.6], [254, 179.0], [262, 184.0]])


@dataclass(frozen=True)
class Portrait:
    """The portrait in layers; PLATE_SCALE and TEXTURE_SCALE pixels a portrait pixel.

    Attributes:
        plate: (1024, 1024, 3) uint8 RGB, the picture with the head taken away.
        head: (786, 624, 4) uint8 RGBA, the cut-out head over HEAD_BOX.
        depth: (262, 208) float32 over HEAD_BOX, in portrait pixels, smaller = nearer to the camera; a smooth surface that goes on beyond
            the head's outline.
        mesh: (468, 3) float64 face mesh in portrait pixels.
    """

    plate: np.ndarray
    head: np.ndarray
    depth: np.ndarray
    mesh: np.ndarray


def head_outline() -> np.ndarray:
    """(N, 2) the traced outline of the head layer."""
    return _HEAD_OUTLINE.astype(float)


def portrait_path() -> Path:
    """The picture in the scikit-image wheel, found without importing scikit-image.

    Raises UserError if the wheel or the picture is not there.
    """
    found = importlib.util.find_spec("skimage")
    path = Path(found.submodule_search_locations[0], "data", "astronaut.png") if found and found.submodule_search_locations else None
    if path is None or not path.is_file():
        raise UserError("the sample clips need scikit-image's astronaut.png: pip install 'megactor-sigma-open[samples]'")
    return path


def load_picture() -> np.ndarray:
    """(512, 512, 3) uint8 RGB."""
    import cv2

    bgr = cv2.imread(str(portrait_path()), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape != (PORTRAIT_SIZE_PX, PORTRAIT_SIZE_PX, 3):
        raise UserError(f"{portrait_path()} is not the expected 512 x 512 picture: reinstall scikit-image")
    return np.ascontiguousarray(bgr[..., ::-1])


def take_apart(rgb: np.ndarray, mesh: np.ndarray) -> Portrait:
    """Cut the portrait into plate and head, and give the head its depth.

    Args:
        rgb: (512, 512, 3) uint8.
        mesh: (468, 3) face mesh found on it.
    """
    import cv2

    alpha = _matte(rgb)
    plate = _plate(rgb)
    side = PORTRAIT_SIZE_PX * PLATE_SCALE
    x0, y0, x1, y1 = HEAD_BOX
    large = cv2.resize(rgb[y0:y1, x0:x1], None, fx=TEXTURE_SCALE, fy=TEXTURE_SCALE, interpolation=cv2.INTER_LANCZOS4)
    head_rgb = _crisp(large, TEXTURE_SCALE, 0.55)
    head_alpha = cv2.resize(alpha[y0:y1, x0:x1], None, fx=TEXTURE_SCALE, fy=TEXTURE_SCALE, interpolation=cv2.INTER_CUBIC)
    head = np.dstack([head_rgb, np.clip(np.round(head_alpha * 255), 0, 255).astype(np.uint8)])
    large_plate = _crisp(cv2.resize(plate, (side, side), interpolation=cv2.INTER_LANCZOS4), PLATE_SCALE, 0.25)
    return Portrait(large_plate, head, _depth(mesh), np.asarray(mesh, float))


def _crisp(rgb: np.ndarray, scale: int, amount: float) -> np.ndarray:
    """Unsharp masking that makes up for the enlargement; less of it where it would bring out the film's grain."""
    import cv2

    soft = cv2.GaussianBlur(rgb, (0, 0), 0.75 * scale)
    return cv2.addWeighted(rgb, 1 + amount, soft, -amount, 0)


def fill_polygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 coverage 0..1 of a polygon (N, 2) in edge coordinates, with smooth borders."""
    import cv2

    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round((points - 0.5) * 256).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=8)
    return mask.astype(np.float32) / 255


def _matte(rgb: np.ndarray) -> np.ndarray:
    """(512, 512) float32 0..1: 1 well inside the traced outline, 0 well outside, in between by how unlike the background a pixel is."""
    import cv2

    shape = rgb.shape[:2]
    inside = fill_polygon(_HEAD_OUTLINE, shape)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    far = cv2.dilate(inside, np.ones((11, 11), np.uint8)) < 0.01
    background = push_pull(lab, far.astype(np.float32))
    unlike = np.linalg.norm((lab - background) * np.array([0.8, 1.2, 1.2], np.float32), axis=2)
    by_colour = np.clip((unlike - 5.0) / 14.0, 0, 1)
    core = cv2.erode(inside, np.ones((7, 7), np.uint8))
    halo = cv2.GaussianBlur(cv2.dilate(inside, np.ones((7, 7), np.uint8)), (0, 0), 1.2)
    alpha = np.maximum(core, np.minimum(by_colour, halo))
    # Next to the ring and the collar the colours are as unlike the wall as the head is: there the traced line alone decides.
    ys = np.arange(shape[0], dtype=np.float32)[:, None]
    by_line = cv2.GaussianBlur(inside, (0, 0), 0.7)
    below_ears = np.clip((ys - 137.0) / 6.0, 0, 1)
    alpha = alpha * (1 - below_ears) + by_line * below_ears
    return alpha * np.clip((236.0 - ys) / 40.0, 0, 1)


def _plate(rgb: np.ndarray) -> np.ndarray:
    """(512, 512, 3) uint8: wall, ring and collar go on where the head was."""
    import cv2

    shape = rgb.shape[:2]
    hole = cv2.dilate(fill_polygon(_HEAD_OUTLINE, shape), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    ys = np.arange(shape[0])[:, None]
    hole = (hole * np.clip((_COLLAR_TOP_Y + 6 - ys) / 3, 0, 1)).astype(np.float32)
    suit = fill_polygon(
        np.array([[0, 130], [120, 160], [140, 158], [186, 147], [256, 173], [300, 215], [420, 300], [512, 512], [0, 512]]), shape
    )
    wall = push_pull(rgb.astype(np.float32), ((hole < 0.01) & (suit < 0.01)).astype(np.float32))
    grain = np.random.default_rng(5).standard_normal(shape).astype(np.float32)[..., None]
    filled = wall + 1.6 * cv2.GaussianBlur(grain, (0, 0), 0.6)[..., None] * 1.5
    ring = fill_polygon(np.concatenate([_RING_OUTER, _RING_INNER[::-1]]), shape)
    below = fill_polygon(np.concatenate([_RING_OUTER, [[262, 240], [176, 240]]]), shape)
    across = _between(_RING_OUTER, _RING_INNER, shape)
    tone = np.interp(across, [0, 0.25, 0.6, 1.0], [118, 130, 112, 84])[..., None] * np.array([1.0, 0.915, 1.03], np.float32)
    dark = np.broadcast_to(np.array([4, 2, 2], np.float32), rgb.shape)
    filled = filled * (1 - below[..., None]) + dark * below[..., None]
    filled = filled * (1 - ring[..., None]) + tone * ring[..., None]
    weight = cv2.GaussianBlur(hole, (0, 0), 0.8)[..., None]
    # The hole reaches a few pixels over the ring's visible ends; keep the photograph wherever the head does not hide it.
    keep = 1 - cv2.GaussianBlur(cv2.dilate(fill_polygon(_HEAD_OUTLINE, shape), np.ones((5, 5), np.uint8)), (0, 0), 0.8)
    weight = np.where((ys > 140)[..., None], np.minimum(weight, 1 - keep[..., None]), weight)
    return np.clip(np.round(rgb * (1 - weight) + filled * weight), 0, 255).astype(np.uint8)


def _between(upper: np.ndarray, lower: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W): 0 on the upper line, 1 on the lower, linear down each column."""
    xs, ys = np.arange(shape[1]) + 0.5, np.arange(shape[0])[:, None] + 0.5
    top, bottom = np.interp(xs, upper[:, 0], upper[:, 1]), np.interp(xs, lower[:, 0], lower[:, 1])
    return np.clip((ys - top) / (bottom - top), 0, 1)


def push_pull(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known smoothly from what is, by averaging down a pyramid and back (Gortler et al., "The Lumigraph", 1996).

    Args:
        values: (H, W, C) float32.
        known: (H, W) float32 weights, 0 where unknown.
    """
    import cv2

    height, width = known.shape
    if min(height, width) <= 2:
        total = float(known.sum())
        mean = (values * known[..., None]).sum((0, 1)) / max(total, 1e-9)
        return values * known[..., None] + mean * (1 - known[..., None])
    size = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * known[..., None], size, interpolation=cv2.INTER_AREA) / np.maximum(weight, 1e-6)[..., None]
    filled = push_pull(coarse.astype(np.float32), np.minimum(1, weight * 4).astype(np.float32))
    back = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    return values * known[..., None] + back * (1 - known[..., None])


def _depth(mesh: np.ndarray) -> np.ndarray:
    """(262, 208) float32: the mesh inside the face, bulging hair around it, cheeks falling away to the neck."""
    import cv2

    x0, y0, x1, y1 = HEAD_BOX
    face = mesh[::2]
    hair = _HEAD_OUTLINE[_HEAD_OUTLINE[:, 1] < 128] - _HAIR_CENTRE
    around = [_at_depth(_HAIR_CENTRE + hair * share, depth) for share, depth in ((1.0, 55.0), (0.86, 38.0), (1.25, 58.0))]
    around += [_at_depth(_JAW_SIDES + (_JAW_SIDES - _FACE_CENTRE) * beyond, 40.0) for beyond in (0.0, 0.2, 0.5)]
    known = np.concatenate([face, *around, _FRINGE, _NECK])
    # The front of the face exactly; its steep sides smoothly, since a few pixels show all of them and turning the head spreads those.
    smoothing = np.full(len(known), 30.0)
    smoothing[: len(face)][face[:, 2] < 14] = 2.0
    surface = ThinPlate(known[:, :2], known[:, 2:], smoothing)
    step = 2
    xs, ys = np.arange(x0, x1 + step, step) + 0.0, np.arange(y0, y1 + step, step) + 0.0
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    coarse = (surface.evaluate(grid)[:, 0] - _chin_forward_px(grid)).reshape(len(ys), len(xs))
    coarse = np.minimum(coarse, _DEEPEST_PX).astype(np.float32)
    fine_x, fine_y = np.meshgrid((np.arange(x1 - x0) + 0.5) / step, (np.arange(y1 - y0) + 0.5) / step)
    return cv2.remap(coarse, fine_x.astype(np.float32), fine_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _chin_forward_px(points: np.ndarray) -> np.ndarray:
    """How much nearer to the camera the chin is than one frontal picture tells the mesh network: it puts the chin 3 cm behind the lips,
    where MediaPipe's canonical face has 1.3 cm; turned heads with that chin are read as looking down."""
    x, y = points.T
    return 14.0 * np.clip((y - 140) / 35, 0, 1) * np.clip((196 - y) / 14, 0, 1) * np.exp(-(((x - _FACE_CENTRE[0]) / 60) ** 2))


def _at_depth(points: np.ndarray, depth: float) -> np.ndarray:
    """(N, 3) from (N, 2)."""
    return np.concatenate([points, np.full((len(points), 1), depth)], axis=1)
