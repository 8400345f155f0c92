"""A pair of ONNX graphs with the inputs and outputs of YOLOX-l and dw-ll_ucoco_384, whose answers are known, and pictures for them.

A "person" is a white disc and three soft dots: red on the right eye, green on the left eye, blue on the mouth. The detector finds the disc
and gives a box of fixed proportions to its radius; the pose graph finds the dots' centres of mass, and puts each of the 133 points at a
fixed affine combination of the three, the 68 of the face as the head template has them. Whatever moves the dots moves the points alike, so
every point of a picture is known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from curation.dwpose.pose import FACE
from curation.landmarks import sixty_eight
from curation.landmarks.pose import TEMPLATE_CM

BACKGROUND = 60
BOX_IN_RADII = (22.0, 28.0)  # width, height of the box
BOX_DROP_IN_RADII = 6.0  # of its centre below the disc
RADIUS_IN_EYE_DISTANCES = 0.22
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def _anchors() -> np.ndarray:
    """(3, 2) the template's eye centres and mouth."""
    right, left = sixty_eight.eye_centres(TEMPLATE_CM[:, :2])
    return np.stack([right, left, TEMPLATE_CM[sixty_eight.LIPS, :2].mean(axis=0)])


def _mixture() -> np.ndarray:
    """(133, 3) weights of the three dots for each point; rows add up to 1."""
    mixture = np.random.default_rng(7).dirichlet([2, 2, 2], 133)
    solid = np.concatenate([_anchors(), np.ones((3, 1))], axis=1)
    mixture[FACE] = np.concatenate([TEMPLATE_CM[:, :2], np.ones((68, 1))], axis=1) @ np.linalg.inv(solid)
    return mixture


MIXTURE = _mixture()


@dataclass(frozen=True)
class DotPerson:
    """Where to draw one: middle of the eyes in px (pixel i covers i..i+1), distance of the eyes, angle, and how wide the dots are."""

    x_px: float
    y_px: float
    eye_distance_px: float = 120.0
    angle_deg: float = 0.0

    def _place(self, offset: np.ndarray) -> np.ndarray:
        """(..., 2) px of offsets in eye distances, x right and y down in the face's own frame."""
        angle = np.deg2rad(self.angle_deg)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.array([self.x_px, self.y_px]) + self.eye_distance_px * offset @ turn

    @property
    def dots_px(self) -> np.ndarray:
        """(3, 2) red, green, blue."""
        anchors = _anchors()
        middle, unit = anchors[:2].mean(axis=0), np.linalg.norm(anchors[1] - anchors[0])
        return self._place((anchors - middle) / unit)

    @property
    def disc_px(self) -> np.ndarray:
        return self._place(np.array([0.0, -1.0]))

    @property
    def radius_px(self) -> float:
        return RADIUS_IN_EYE_DISTANCES * self.eye_distance_px

    @property
    def points_px(self) -> np.ndarray:
        """(133, 2): the answer."""
        return MIXTURE @ self.dots_px

    @property
    def face_px(self) -> np.ndarray:
        """(68, 2)"""
        return self.points_px[FACE]

    @property
    def box_px(self) -> np.ndarray:
        """(4,) as the detector gives it, but for the picture's edges."""
        centre = self.disc_px + np.array([0, BOX_DROP_IN_RADII * self.radius_px])
        half = np.array(BOX_IN_RADII) * self.radius_px / 2
        return np.concatenate([centre - half, centre + half])


def draw(people: list[DotPerson], width_px: int, height_px: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    picture = np.full((height_px, width_px, 3), BACKGROUND, np.float64)
    for person in people:
        for channel, dot in enumerate(person.dots_px):
            sigma = 0.1 * person.eye_distance_px
            part, distance = _around(dot, 5 * sigma, width_px, height_px)
            colour = 255.0 * (np.arange(3) == channel)
            strength = np.exp(-(distance**2) / (2 * sigma**2))[..., None]
            picture[part] = (1 - strength) * picture[part] + strength * colour
        part, distance = _around(person.disc_px, person.radius_px + 2, width_px, height_px)
        cover = np.clip(person.radius_px + 0.5 - distance, 0, 1)[..., None]
        picture[part] = (1 - cover) * picture[part] + cover * 255
    return np.round(picture).astype(np.uint8)


def _around(centre: np.ndarray, reach: float, width_px: int, height_px: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of a picture within `reach`, and its pixels' distances from the centre."""
    x0, x1 = (int(np.clip(centre[0] + s * reach, 0, width_px)) for s in (-1, 1))
    y0, y1 = (int(np.clip(centre[1] + s * reach, 0, height_px)) for s in (-1, 1))
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    return (slice(y0, y1), slice(x0, x1)), np.hypot(x - centre[0], y - centre[1])


@dataclass
class _Graph:
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)

    def const(self, value, kind=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def __call__(self, op: str, *inputs: str, **attributes) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def save(self, file: Path, batch: int | str, input_shape: tuple, outputs: dict[str, tuple]) -> None:
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])

        nodes = list(self.nodes)
        for name, (inner, _) in outputs.items():
            nodes.append(helper.make_node("Identity", [inner], [name]))
        graph = helper.make_graph(
            nodes, "dots", [value("images", input_shape)], [value(name, shape) for name, (_, shape) in outputs.items()], self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, file)


def write_detector(file: Path, batch: int | str = "batch") -> Path:
    """(N, 3, 640, 640) BGR 0..255 -> (N, 8400, 85) as YOLOX gives it before decoding."""
    g = _Graph()
    lowest = g("ReduceMin", "images", axes=[1], keepdims=1)
    # Only the disc is bright in all channels.
    white = g("Clip", g("Div", g("Sub", lowest, g.const(150)), g.const(80)), g.const(0), g.const(1))
    y, x = np.mgrid[:640, :640] + 0.5
    maps = g("Concat", white, g("Mul", white, g.const(x[None, None])), g("Mul", white, g.const(y[None, None])), axis=1)
    cells = g("Mul", g("AveragePool", maps, kernel_shape=[8, 8], strides=[8, 8]), g.const(64))
    sums = g("Mul", g("AveragePool", cells, kernel_shape=[13, 13], pads=[6] * 4, count_include_pad=1), g.const(169))
    mass, mx, my = (g("Slice", sums, g.const([c], np.int64), g.const([c + 1], np.int64), g.const([1], np.int64)) for c in range(3))
    some = g("Max", mass, g.const(1e-3))
    rows, columns = np.mgrid[:80, :80]
    off = [
        g("Sub", g("Div", g("Div", moment, some), g.const(8)), g.const(place[None, None])) for moment, place in ((mx, columns), (my, rows))
    ]  # in strides from the cell's corner: within 0..1 in the cell that holds the disc's centre
    inside = [g("Less", g("Abs", g("Sub", o, g.const(0.5))), g.const(0.51)) for o in off]
    found = g("And", g("And", *inside), g("Greater", mass, g.const(8)))
    radius = g("Sqrt", g("Div", some, g.const(np.pi * 64)))  # in strides
    down = g("Add", off[1], g("Mul", radius, g.const(BOX_DROP_IN_RADII)))
    sizes = [g("Log", g("Mul", radius, g.const(n))) for n in BOX_IN_RADII]
    score = g("Cast", found, to=TensorProto.FLOAT)
    fine = g("Concat", off[0], down, *sizes, score, axis=1)
    spread = np.zeros((85, 5, 1, 1))
    spread[range(5), range(5)] = 1
    spread[5, 4] = 1  # a person
    levels = [g("Conv", fine, g.const(spread))]
    for size in (16, 32):
        levels.append(g("Conv", g("AveragePool", white, kernel_shape=[size] * 2, strides=[size] * 2), g.const(np.zeros((85, 1, 1, 1)))))
    flat = [g("Transpose", g("Reshape", level, g.const([0, 85, -1], np.int64)), perm=[0, 2, 1]) for level in levels]
    g.save(file, batch, (3, 640, 640), {"output": (g("Concat", *flat, axis=1), (8400, 85))})
    return file


def write_pose(file: Path, batch: int | str = "batch", mixture: np.ndarray = MIXTURE) -> Path:
    """(N, 3, 384, 288) normalised RGB -> SimCC (N, 133, 576) and (N, 133, 768); all scores are 0 where a dot is missing."""
    g = _Graph()
    rgb = g("Add", g("Mul", "images", g.const(np.reshape(_STD, (1, 3, 1, 1)))), g.const(np.reshape(_MEAN, (1, 3, 1, 1))))
    channels = [g("Slice", rgb, g.const([c], np.int64), g.const([c + 1], np.int64), g.const([1], np.int64)) for c in range(3)]
    ahead = [
        g("Relu", g("Sub", g("Sub", channels[c], g("Max", channels[(c + 1) % 3], channels[(c + 2) % 3])), g.const(40))) for c in range(3)
    ]
    dots = g("Concat", *ahead, axis=1)  # (N, 3, 384, 288)
    mass = g("ReduceSum", dots, g.const([2, 3], np.int64), keepdims=0)  # (N, 3)
    some = g("Max", mass, g.const(1e-3))
    present = g("Cast", g("Greater", g("ReduceMin", mass, axes=[1], keepdims=1), g.const(300)), to=TensorProto.FLOAT)  # (N, 1)
    simcc = []
    for axis, size in ((3, 288), (2, 384)):
        places = np.arange(size, dtype=float).reshape((1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1))
        centre = g("Div", g("ReduceSum", g("Mul", dots, g.const(places)), g.const([2, 3], np.int64), keepdims=0), some)  # (N, 3)
        points = g("Unsqueeze", g("MatMul", centre, g.const(mixture.T)), g.const([2], np.int64))  # (N, 133, 1)
        away = g("Div", g("Sub", g.const(np.arange(2 * size)[None, None]), g("Mul", points, g.const(2))), g.const(6))
        peak = g("Exp", g("Mul", g("Mul", away, away), g.const(-0.5)))
        simcc.append((g("Mul", peak, g("Unsqueeze", present, g.const([2], np.int64))), (133, 2 * size)))
    g.save(file, batch, (3, 384, 288), {"simcc_x": simcc[0], "simcc_y": simcc[1]})
    return file


def write_models(directory: Path, detector_batch: int | str = "batch", pose_batch: int | str = "batch") -> dict:
    """The pair in a models directory, and a table that pins it; the `runtime` settings of the backend that use them."""
    files = {
        "dwpose-detector": write_detector(directory / "dots" / "detector.onnx", detector_batch),
        "dwpose-pose": write_pose(directory / "dots" / "pose.onnx", pose_batch),
    }
    table = {
        name: {
            "file": str(file.relative_to(directory)),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "size_bytes": file.stat().st_size,
            "sources": ["https://example.invalid/" + file.name],
            "licence": "Apache-2.0",
            "used_for": "tests",
        }
        for name, file in files.items()
    }
    (directory / "table.yaml").write_text(yaml.safe_dump(table))
    return {"provider": "cpu", "models_dir": str(directory), "models_table": str(directory / "table.yaml")}


def write_people(path: Path, script: list[list[DotPerson]], size_px: tuple[int, int], rotation_deg: int = 0) -> None:
    """An H.264 file that shows the script upright once a player turns it clockwise by `rotation_deg`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "8", "threads": "1"})
        turned = rotation_deg % 180 == 90
        video.width, video.height = size_px[::-1] if turned else size_px
        video.pix_fmt = "yuv420p"
        if rotation_deg:
            video.set_display_rotation(-rotation_deg)
        for i, people in enumerate(script):
            stored = np.rot90(draw(people, *size_px), rotation_deg // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
