"""A person built: everything of the mesh, the skin and the hair that no pose changes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from curation.people import clothes, face_hair, hair, regions, skin
from curation.people.atlas import atlas
from curation.people.colour import to_linear
from curation.people.glasses import make_glasses
from curation.people.head import CLOTH, EYE_RADIUS_DM, FRAME, LASH, PARTS, SKIN, load_head
from curation.people.occlusion import occlusion
from curation.people.person import Person, generator
from curation.people.shape import rest_positions_dm
from curation.people.strands import HeadHair, RidingStrands
from curation.people.surface import normals

_UNITS = "unit/"
_PIVOT_ABOVE_NECK_DM = np.array([0.0, 0.25, 0.0])


@dataclass(frozen=True)
class Model:
    """V vertices and F triangles: the head's, then those of the glasses.

    Attributes:
        rest_dm: (V, 3) float64. share: (V,) of the head's turn. pivot_dm: (3,), what the head turns about.
        triangles: (F, 3) int32. part: (F,) int32 as `shading` numbers them. drawn, two_sided: (F,) bool.
        uv: (F, 3, 2) float64 texels. texture: (h, w, 7) float32.
        base: (V, 3) float64, positions on the base mesh. cut: (F,) bool, clothes; collar: (6,) their edge.
        occlusion: (V,). eye_axes: (V, 3) float64, positions on the unit ball of the eyes.
        eyes: vertices of (left, right); eye_centres_dm: (2, 3).
        face: (F,) bool: bare skin of the face.
        unit_names and unit_offsets, unit_vertices, unit_dm: the face units end to end.
        hair: the head's. riding: brows, beard and lashes.
        lens_triangles: (L, 3) int32.
        cloth, iris, frame_rgb: parameters of `shading.shade`. skin_albedo: (3,) linear.
        skull_centre_dm: (3,).
    """

    person: Person
    rest_dm: np.ndarray
    share: np.ndarray
    pivot_dm: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    drawn: np.ndarray
    two_sided: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    base: np.ndarray
    cut: np.ndarray
    collar: np.ndarray
    occlusion: np.ndarray
    eye_axes: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    eye_centres_dm: np.ndarray
    face: np.ndarray
    unit_names: tuple[str, ...]
    unit_offsets: np.ndarray
    unit_vertices: np.ndarray
    unit_dm: np.ndarray
    hair: HeadHair
    riding: RidingStrands
    lens_triangles: np.ndarray
    cloth: np.ndarray
    iris: np.ndarray
    frame_rgb: np.ndarray
    skin_albedo: np.ndarray
    skull_centre_dm: np.ndarray


def build(person: Person, texels_per_unit: int) -> Model:
    """Builds a person; texels_per_unit as `atlas` takes it."""
    head = load_head()
    rest = rest_positions_dm(person)
    normal = normals(rest, head.triangles)
    clothes.dress(person, rest, normals(rest, head.triangles[head.part == PARTS.index("cloth")]))
    hidden = clothes.hidden_skin(person)
    scalp, beard_share = regions.scalp_dm(person), regions.beard_share(person)
    layout = atlas(texels_per_unit)
    share = head.head_weight
    glasses = make_glasses(person, rest)
    n_head, n_frame = len(rest), len(glasses.positions_dm)
    units = [name for name in sorted(head.targets) if name.startswith(_UNITS)]
    sizes = [len(head.targets[name].vertices) for name in units]
    strands = (face_hair.brows(person), face_hair.beard(person, rest, beard_share), face_hair.lashes(person))
    riding = [one for one in strands if one is not None]
    part = np.concatenate([head.part.astype(np.int32), np.full(len(glasses.triangles), FRAME, np.int32)])

    def extended(values: np.ndarray, fill: float) -> np.ndarray:
        return np.concatenate([values, np.full((n_frame, *values.shape[1:]), fill)])

    return Model(
        person=person,
        rest_dm=np.concatenate([rest, glasses.positions_dm]),
        share=np.round(extended(share, 1.0) * 32) / 32,
        pivot_dm=rest[head.neck_joint].mean(axis=0) + _PIVOT_ABOVE_NECK_DM,
        triangles=np.concatenate([head.triangles, glasses.triangles + n_head]).astype(np.int32),
        part=part,
        drawn=np.concatenate([~hidden & (head.part != LASH), np.ones(len(glasses.triangles), bool)]),
        two_sided=(part >= 3),
        uv=np.concatenate([layout.uv, np.zeros((len(glasses.triangles), 3, 2))]),
        texture=skin.paint(person, layout, scalp, beard_share),
        base=extended(head.positions_dm, 0.0),
        cut=part == CLOTH,
        collar=clothes.collar(person),
        occlusion=extended(occlusion(rest, normal, hidden), 1.0),
        eye_axes=extended(_eye_axes(), 0.0),
        eyes=head.eyes,
        eye_centres_dm=np.stack([rest[eye].mean(axis=0) for eye in head.eyes]),
        face=np.concatenate([_bare_face(scalp, beard_share), np.zeros(len(glasses.triangles), bool)]),
        unit_names=tuple(name.removeprefix(_UNITS) for name in units),
        unit_offsets=np.cumsum([0, *sizes]).astype(np.int32),
        unit_vertices=np.concatenate([head.targets[name].vertices for name in units]),
        unit_dm=np.concatenate([head.targets[name].by_dm for name in units]),
        hair=hair.grow(person, rest, normal, scalp),
        riding=_joined(riding),
        lens_triangles=glasses.lens_triangles + n_head,
        cloth=clothes.cloth_parameters(person),
        iris=_iris(person),
        frame_rgb=to_linear(glasses.srgb),
        skin_albedo=to_linear(skin.tone_srgb(person)),
        skull_centre_dm=regions.SKULL_CENTRE_DM,
    )


def _eye_axes() -> np.ndarray:
    head = load_head()
    axes = np.zeros_like(head.positions_dm)
    for eye, centre in zip(head.eyes, head.eye_centres_dm, strict=True):
        axes[eye] = (head.positions_dm[eye] - centre) / EYE_RADIUS_DM
    return axes


def _iris(person: Person) -> np.ndarray:
    rng = generator(person.seed, "iris")
    return np.array([*(to_linear(np.array(person.eye_srgb)) * 1.3), rng.uniform(0.43, 0.48), rng.uniform(0.3, 0.42), rng.uniform(0, 6)])


def _bare_face(scalp_dm: np.ndarray, beard_share: np.ndarray) -> np.ndarray:
    head = load_head()
    _, y, z = head.positions_dm.T
    bare = (z > 0.6) & (y > 6.15) & (y < 7.95) & (head.lips < 0.2) & (head.eyelids < 0.3) & (scalp_dm < -0.05) & (beard_share < 0.15)
    return (head.part == SKIN) & bare[head.triangles].all(axis=1)


def _joined(strands: list[RidingStrands]) -> RidingStrands:
    return RidingStrands(**{field.name: np.concatenate([getattr(one, field.name) for one in strands]) for field in fields(RidingStrands)})
