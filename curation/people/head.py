"""The baked head: the mesh that every person shares, and the targets that shape and move it.

Units are decimetres in MakeHuman's axes: x to the person's left, y up, z out of the face. Vertices keep their number of the base mesh
(`number`), so that points may be named by it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
from safetensors import safe_open

PARTS = ("skin", "mouth", "eye", "teeth", "tongue", "lash", "cloth")  # mouth: its inside
SKIN, MOUTH, EYE, TEETH, TONGUE, LASH, CLOTH, FRAME = range(8)  # their numbers; the frame of glasses is not the head's
EYE_RADIUS_DM = 0.143
LIP_MIDDLES = (474, 493)  # MakeHuman's numbers of the vertices, upper and lower, where the lips touch in the middle


@dataclass(frozen=True)
class Target:
    """Displacements (K, 3) float64 dm of the vertices (K,)."""

    vertices: np.ndarray
    by_dm: np.ndarray


@dataclass(frozen=True)
class Head:
    """Attributes:
    positions_dm: (V, 3) float64, the base mesh.
    number: (V,) a vertex's number in MakeHuman's base mesh.
    triangles: (F, 3) int32, two a quad. part: (F,) index into `PARTS`. uv: (F, 3, 2) float64, MakeHuman's texture coordinates.
    neck_joint: vertices around the joint that the head turns about.
    head_weight: (V,) float64 0..1, how much of the head's turn a vertex takes part in.
    lips, eyelids, ears: (V,) float64 0..1 masks.
    targets: by name: unit/… (ARKit face units), macro/… (sex, age, ancestry, muscle, weight), and the face's local shapes by region.
    eyes: vertices of the (left, right) eyeball, the person's own.
    """

    positions_dm: np.ndarray
    number: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    uv: np.ndarray
    neck_joint: np.ndarray
    head_weight: np.ndarray
    lips: np.ndarray
    eyelids: np.ndarray
    ears: np.ndarray
    targets: dict[str, Target]
    eyes: tuple[np.ndarray, np.ndarray]

    def vertices_of(self, *parts: str) -> np.ndarray:
        """The vertices of some of the `PARTS`, in rising order."""
        return np.unique(self.triangles[np.isin(self.part, [PARTS.index(part) for part in parts])])

    @functools.cached_property
    def eye_centres_dm(self) -> np.ndarray:
        """(2, 3): the (left, right) eyeball of the base mesh."""
        return np.stack([self.positions_dm[eye].mean(axis=0) for eye in self.eyes])

    @functools.cached_property
    def lip_line(self) -> np.ndarray:
        """(2,) vertices: the middles of the upper and the lower lip where they touch."""
        return np.array([int(np.flatnonzero(self.number == number)[0]) for number in LIP_MIDDLES])

    @functools.cached_property
    def mirror(self) -> np.ndarray:
        """(V,) int: the vertex on the other side of the face."""
        here, there = self.positions_dm, self.positions_dm * [-1, 1, 1]
        order = np.lexsort(np.round(here.T[::-1], 3))
        other = np.lexsort(np.round(there.T[::-1], 3))
        mirror = np.empty(len(here), int)
        mirror[order] = other
        return mirror


@functools.cache
def load_head() -> Head:
    """The baked head; read once in a process. Its arrays are not to be written to."""
    with as_file(files("curation.people") / "head.safetensors") as path, safe_open(path, "numpy") as file:
        names = file.metadata()["targets"].split()
        data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    quads, positions = data["quads"].astype(np.int32), data["positions_dm"].astype(np.float64)
    corners = ([0, 1, 2], [0, 2, 3])
    part = np.tile(data["part"], 2)
    triangles = np.concatenate([quads[:, three] for three in corners])
    offsets, moved, by_dm = data["target_offsets"], data["target_vertices"].astype(np.int32), data["target_dm"].astype(np.float64)
    spans = zip(names, offsets[:-1], offsets[1:], strict=True)
    # The rig leaves out eyes, teeth, tongue and lashes: they turn with the skull.
    weight = data["head_weight"].astype(np.float64)
    weight[np.unique(triangles[np.isin(part, [PARTS.index(name) for name in ("mouth", "eye", "teeth", "tongue", "lash")])])] = 1
    eyes = np.unique(triangles[part == PARTS.index("eye")])
    return Head(
        positions_dm=positions,
        number=data["number"].astype(np.int32),
        triangles=triangles,
        part=part,
        uv=np.concatenate([data["uv"][:, three] for three in corners]).astype(np.float64),
        neck_joint=data["neck_joint"].astype(np.int32),
        head_weight=weight,
        lips=data["mask_lips"] / 255,
        eyelids=data["mask_eyelids"] / 255,
        ears=data["mask_ears"] / 255,
        targets={name: Target(moved[a:b], by_dm[a:b]) for name, a, b in spans},
        eyes=(eyes[positions[eyes, 0] > 0], eyes[positions[eyes, 0] < 0]),
    )
