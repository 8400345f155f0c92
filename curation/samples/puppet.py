"""Planted clips of anybody's portrait: its own pixels, moved by what a sample clip says and does.

What `portrait` and `face` know of one photograph from lines drawn by hand is taken from the face mesh here, and coarser: lips part along
the mesh's lip line and show a drawn mouth, lids close, brows rise, the head turns aside as far as the mesh knows how deep it is, and the
picture turns, shifts and grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.samples.encode import FPS, write_mp4
from curation.samples.motion import Motion, MotionTrack, motion_track
from curation.samples.mouth import REST_WIDTH_PX, MouthTrack, mouth_track
from curation.samples.phonemes import SENTENCES, speak
from curation.samples.portrait import fill_polygon
from curation.samples.splines import ThinPlate
from curation.samples.voice import synthesise
from manifests import UserError
from manifests.atomic import atomic_path

SIDE_PX = 256  # of the clips
EYES_SHARE = 0.27  # distance of the eyes' outer corners over the clip's side: the head with room to move
EYES_PX = 62.0  # the same distance in the pixels that `mouth_track` and `motion_track` count in
SHIFT, ROLL_DEG, ZOOM = 0.05, 7.0, 0.06  # largest shift in sides of the clip, roll and growth
YAW_DEG, PITCH_DEG = 14.0, 8.0  # largest turn and nod from the portrait's own
ASIDE_DEG = 14.0  # largest turn from the camera: beyond it the far side folds

# Vertices of MediaPipe's face mesh, from the person's right to the left.
_INNER_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
_INNER_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
_OUTER_UPPER = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291]
_OUTER_LOWER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291]
_LIDS = (
    ([33, 246, 161, 160, 159, 158, 157, 173, 133], [33, 7, 163, 144, 145, 153, 154, 155, 133]),
    ([362, 398, 384, 385, 386, 387, 388, 466, 263], [362, 382, 381, 380, 374, 373, 390, 249, 263]),
)
_BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
_JAW = {
    152: 1.0,
    148: 0.98,
    377: 0.98,
    176: 0.92,
    400: 0.92,
    149: 0.8,
    378: 0.8,
    150: 0.6,
    379: 0.6,
    136: 0.4,
    365: 0.4,
    172: 0.2,
    397: 0.2,
}
_STILL = [
    2,
    98,
    327,
    129,
    358,
    4,
    6,
    168,
    10,
    67,
    297,
    109,
    338,
    54,
    284,
    127,
    356,
    234,
    454,
    93,
    323,
    132,
    361,
    58,
    288,
    117,
    346,
    50,
    280,
]
_GRID_PX = 8  # the warps are smooth: they are computed so far apart
_LID_PX, _LASHES_PX = 6.5, 2.0  # of a track's pixels above the upper lid: the skin that a blink stretches, and where lashes begin
_DARK, _TEETH = np.array([44.0, 16.0, 16.0]), np.array([205.0, 196.0, 184.0])


@dataclass(frozen=True)
class Puppet:
    """A portrait that can be moved.

    Attributes:
        rgb: (SIDE_PX, SIDE_PX, 3) uint8, the portrait cut about its face.
        mesh_px: (468, 2) float64 face mesh on it.
        depth_px: (468,) float64 how far its vertices lie behind one another; smaller = nearer.
    """

    rgb: np.ndarray
    mesh_px: np.ndarray
    depth_px: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> Puppet:
        """From (H, W, 3) uint8 with one face.

        Raises:
            UserError: no face is found.
        """
        import cv2

        from curation.landmarks.facemesh import FaceMesh

        faces = FaceMesh().detect_image(picture)
        if not faces:
            raise UserError("no face found: the portrait must show one, from the front and not cut off")
        mesh, depth = faces[0].mesh_px[:, :2].astype(float), faces[0].mesh_px[:, 2].astype(float)
        eyes = float(np.linalg.norm(mesh[33] - mesh[263]))
        zoom = EYES_SHARE * SIDE_PX / eyes
        depth *= zoom
        middle = mesh.mean(0) - [0.0, 0.15 * eyes]
        matrix = np.array([[zoom, 0.0, SIDE_PX / 2 - zoom * middle[0]], [0.0, zoom, SIDE_PX / 2 - zoom * middle[1]]])
        small = max(1, int(1 / zoom))  # warpAffine does not average: shrink by whole numbers first
        if small > 1:
            picture = cv2.resize(picture, None, fx=1 / small, fy=1 / small, interpolation=cv2.INTER_AREA)
            zoom, matrix, mesh = zoom * small, matrix * [[small, small, 1]], mesh / small
        counted = matrix + [[0, 0, zoom / 2 - 0.5]] * 2  # it counts from pixel centres
        how, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
        rgb = cv2.warpAffine(picture, counted, (SIDE_PX, SIDE_PX), flags=how, borderMode=border)
        return cls(rgb, mesh @ matrix[:, :2].T + matrix[:, 2], depth)

    @property
    def unit_px(self) -> float:
        """One pixel of the tracks in pixels of the picture."""
        return float(np.linalg.norm(self.mesh_px[33] - self.mesh_px[263])) / EYES_PX

    def frame(self, mouth: MouthTrack, motion: MotionTrack, place: np.ndarray, i: int) -> np.ndarray:
        """(SIDE_PX, SIDE_PX, 3) uint8, frame `i` of the tracks; `place` (T, 6) is roll in degrees, growth, shift x and y in px, yaw
        and pitch in degrees."""
        import cv2

        unit = self.unit_px
        gap, jaw = unit * float(mouth.gap_px[i]), unit * float(mouth.jaw_px[i])
        width = float(np.clip(mouth.width_px[i] / REST_WIDTH_PX, 0.7, 1.15))
        roll, growth, shift_x, shift_y, yaw, pitch = place[i].tolist()
        new = self._turned(self._moved(gap, jaw, width, unit * float(motion.brow_px[i])), yaw, pitch)
        rows, columns = np.mgrid[:SIDE_PX:_GRID_PX, :SIDE_PX:_GRID_PX] + _GRID_PX / 2
        grid = np.stack([columns.ravel(), rows.ravel()], axis=1)
        fields = []
        for lips in (_INNER_UPPER + _OUTER_UPPER[1:-1], _INNER_LOWER + _OUTER_LOWER[1:-1]):
            used = [*lips, *_JAW, *_STILL, *_BROWS, *(vertex for upper, lower in _LIDS for vertex in dict.fromkeys([*upper, *lower]))]
            warp = ThinPlate(np.concatenate([new[used], _corners()]), np.concatenate([self.mesh_px[used], _corners()]), smoothing=0.5)
            coarse = (warp.evaluate(grid) - grid).reshape(*rows.shape, 2).astype(np.float32)
            fields.append(cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR))
        seam = (new[_INNER_UPPER] + new[_INNER_LOWER]) / 2
        order = np.argsort(seam[:, 0])
        x, y = np.arange(SIDE_PX) + 0.5, np.arange(SIDE_PX)[:, None] + 0.5
        outside = np.maximum(0, np.maximum(seam[:, 0].min() - x, x - seam[:, 0].max()))
        lower = np.clip((y - np.interp(x, *seam[order].T)) / (0.4 + 0.8 * outside) + 0.5, 0, 1)[..., None]
        source = (np.stack(np.broadcast_arrays(x, y), axis=-1) + fields[0] + (fields[1] - fields[0]) * lower).astype(np.float32)
        source[..., 1] = self._blinked(source, float(motion.blink[i]))
        source -= 0.5
        face = cv2.remap(self.rgb, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        face = self._with_mouth(face, new, gap)
        matrix = cv2.getRotationMatrix2D((SIDE_PX / 2, SIDE_PX * 0.75), roll, 1 + growth)
        matrix[:, 2] += [shift_x, shift_y]
        return cv2.warpAffine(face, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def _moved(self, gap_px: float, jaw_px: float, width: float, brow_px: float) -> np.ndarray:
        """(468, 2): the mesh of the new picture."""
        old, new = self.mesh_px, self.mesh_px.copy()
        middle = old[[13, 14]].mean(0)
        own = old[_INNER_LOWER] - old[_INNER_UPPER]
        profile = (1 - np.abs(np.linspace(-1, 1, 11)) ** 2.3)[:, None]
        change = np.array([0.0, 1.0]) * gap_px * profile - own  # what the lips' distance grows by
        new[_INNER_LOWER] += 0.85 * change
        new[_OUTER_LOWER] += 0.8 * change
        new[_INNER_UPPER] -= 0.15 * change
        new[_OUTER_UPPER] -= 0.12 * change
        lips = list(dict.fromkeys([*_INNER_UPPER, *_INNER_LOWER, *_OUTER_UPPER, *_OUTER_LOWER]))
        new[lips, 0] = middle[0] + (new[lips, 0] - middle[0]) * width
        for vertex, share in _JAW.items():
            new[vertex, 1] += share * jaw_px
        new[_BROWS, 1] -= brow_px
        return new

    def _turned(self, points_px: np.ndarray, yaw_deg: float, pitch_deg: float) -> np.ndarray:
        """(468, 2) points with the vertices' depth, turned about the middle between the ears, at most `ASIDE_DEG` from the camera."""
        ears = np.column_stack([self.mesh_px, self.depth_px])[[127, 356]]
        middle = ears.mean(0)
        own_deg = float(np.degrees(np.arctan2(ears[1, 2] - ears[0, 2], ears[1, 0] - ears[0, 0])))
        yaw_deg = float(np.clip(yaw_deg, min(0.0, -ASIDE_DEG - own_deg), max(0.0, ASIDE_DEG - own_deg)))
        x, y, z = (np.column_stack([points_px, self.depth_px]) - middle).T
        yaw, pitch = np.radians([yaw_deg, pitch_deg])
        x, z = x * np.cos(yaw) - z * np.sin(yaw), x * np.sin(yaw) + z * np.cos(yaw)
        return np.column_stack([x, y * np.cos(pitch) - z * np.sin(pitch)]) + middle[:2]

    def _blinked(self, source: np.ndarray, blink: float) -> np.ndarray:
        """(H, W): the y where the portrait shows what closing lids put at (H, W, 2) `source`: skin above the lashes stretches over the
        eye, the lashes come along."""
        x, y = source[..., 0], source[..., 1]
        for upper, below in _LIDS:
            lid, rim = (self.mesh_px[part][np.argsort(self.mesh_px[part][:, 0])] for part in (upper, below))
            margin = np.interp(x, *lid.T)
            way = blink * np.maximum(np.interp(x, *rim.T) - margin, 0) * ((x > lid[0, 0]) & (x < lid[-1, 0]))
            top, lashes = margin - _LID_PX * self.unit_px, margin - _LASHES_PX * self.unit_px
            skin, edge = (y > top) & (y < lashes + way), (y >= lashes + way) & (y < margin + way)
            stretched = top + (y - top) * (lashes - top) / (lashes + way - top)
            y = np.where(skin & (way > 0), stretched, np.where(edge & (way > 0), y - way, y))
        return y.astype(np.float32)

    def _with_mouth(self, face: np.ndarray, new: np.ndarray, gap_px: float) -> np.ndarray:
        import cv2

        if gap_px < 0.6:
            return face
        upper, lower = new[_INNER_UPPER], new[_INNER_LOWER]
        mask = fill_polygon(np.concatenate([upper, lower[::-1]]), face.shape[:2])
        mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
        x, y = np.arange(face.shape[1]) + 0.5, np.arange(face.shape[0])[:, None] + 0.5
        order = np.argsort(upper[:, 0])
        depth = y - np.interp(x, *upper[order].T)
        teeth = np.clip((min(0.4 * gap_px, 5 * self.unit_px) - depth) / 1.5, 0, 1)[..., None]
        light = float(np.clip(self.rgb.mean() / 130, 0.5, 1.1))
        grey = float(np.clip(np.ptp(self.rgb.astype(int), axis=-1).mean() / 12, 0, 1))  # a grey photograph has a grey mouth
        dark, teeth_rgb = (colour.mean() + (colour - colour.mean()) * grey for colour in (_DARK, _TEETH))
        inside = (dark + (teeth_rgb - dark) * teeth * np.clip(gap_px / (4 * self.unit_px), 0, 1)) * light
        return np.clip(face + (inside - face) * mask, 0, 255).astype(np.uint8)


def puppet_clips(picture: np.ndarray, out_dir: Path, count: int, seconds: float, seed: int = 0) -> list[Path]:
    """Writes `count` clips of a portrait, each with other words, other movement and another voice. Each appears whole; those that are there
    are kept.

    Raises:
        UserError: no face is found.
    """
    puppet = Puppet.of(picture)
    out_dir.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        files.append(out_dir / f"puppet_{number:02d}.mp4")
        if files[-1].is_file():
            continue
        rng = np.random.default_rng([seed, number])
        n_frames = round(seconds * FPS)
        times_s = np.arange(n_frames) / FPS
        said = [SENTENCES[k] for k in rng.permutation(len(SENTENCES))]
        phones = speak(said, duration_s=seconds, rng=rng, rate=float(rng.uniform(0.85, 1.2)))
        mouth, motion = mouth_track(phones, times_s), motion_track(Motion(), phones, times_s, rng)
        sound = synthesise(phones, pitch_hz=float(rng.uniform(90, 240)), formant_scale=float(rng.uniform(0.85, 1.15)), seed=number)
        with atomic_path(files[-1]) as temporary:
            write_mp4(temporary, _frames(puppet, mouth, motion, _places(times_s, rng)), sound[: round(seconds * 16_000)])
    return files


def _frames(puppet: Puppet, mouth: MouthTrack, motion: MotionTrack, place: np.ndarray) -> Iterator[np.ndarray]:
    for i in range(len(place)):
        yield puppet.frame(mouth, motion, place, i)


def _places(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 6) smooth roll, growth, shift, yaw and pitch; at rest in the first frame of a clip no more than anywhere."""
    largest = np.array([ROLL_DEG, ZOOM, SHIFT * SIDE_PX, 0.7 * SHIFT * SIDE_PX, YAW_DEG, PITCH_DEG])
    speed, phase = rng.uniform(0.12, 0.45, (2, 6)), rng.uniform(0, 2 * np.pi, (2, 6))
    waves = np.sin(2 * np.pi * speed[:, None] * times_s[None, :, None] + phase[:, None])
    return waves.mean(0) * largest


def _corners() -> np.ndarray:
    """(8, 2): the picture's rim stays."""
    return np.array([[x, y] for x in (0, SIDE_PX / 2, SIDE_PX) for y in (0, SIDE_PX / 2, SIDE_PX) if (x, y) != (SIDE_PX / 2, SIDE_PX / 2)])
