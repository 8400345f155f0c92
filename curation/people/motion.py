"""What moves in a clip of a rendered person, and how: smooth random tracks, uncorrelated with one another, drawn from (seed, person, clip).

The mouth follows the phonemes that are spoken and the lids blink; the ten other factors are band-limited Gaussian processes in a cosine
basis (DCT-II of the clip's frames). Independent draws alone would not do: in three seconds a head that moves below 1.5 Hz turns a few times
only, and two such tracks correlate by chance at 0.3 and more, so that a network could read one off the other. So every track is drawn from
its process *given that* its sample correlation with mouth, lids and the tracks drawn before it is zero (the conditional Gaussian is linear
algebra, and stays in the band); and what is constant over a clip is orthogonalised over every twenty people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.samples.mouth import MouthTrack, mouth_track
from curation.samples.phonemes import Phone

HEAD_BAND_HZ, FACE_BAND_HZ = 1.5, 3.0
_BLINK_DRAWS = 24
_BLOCK = 20  # people among whom the middle positions of the factors are uncorrelated
_LEAD_S = 0.01  # beyond `mouth_track`'s own: with it, the lip-sync network places rendered people at offset 0 in the median
_OPEN_PX = 11.5  # `mouth.VISEMES`' widest gap: opening 1


@dataclass(frozen=True)
class Range:
    """Bounds of a factor: over a clip it stays within centre ± amplitude, both drawn a clip, `centre_low..centre_high` and so on."""

    centre_low: float
    centre_high: float
    amplitude_low: float
    amplitude_high: float
    band_hz: float


# Signs of the angles: `curation/landmarks/pose.py`. Shifts are in parts of the picture's side, the distance in those
# of the scene's own.
SMOOTH: dict[str, Range] = {
    "yaw_deg": Range(-12.0, 12.0, 4.0, 16.0, HEAD_BAND_HZ),
    "pitch_deg": Range(-6.0, 6.0, 2.0, 8.0, HEAD_BAND_HZ),
    "roll_deg": Range(-6.0, 6.0, 2.0, 7.0, HEAD_BAND_HZ),
    "shift_x": Range(-0.03, 0.03, 0.004, 0.02, HEAD_BAND_HZ),
    "shift_y": Range(-0.02, 0.02, 0.004, 0.015, HEAD_BAND_HZ),
    "distance": Range(0.95, 1.1, 0.01, 0.04, HEAD_BAND_HZ),
    "gaze_yaw_deg": Range(-6.0, 6.0, 4.0, 14.0, FACE_BAND_HZ),
    "gaze_pitch_deg": Range(-4.0, 4.0, 2.0, 8.0, FACE_BAND_HZ),
    "brows": Range(-0.1, 0.3, 0.2, 0.6, FACE_BAND_HZ),  # -1 knitted, 1 raised
    "smile": Range(0.1, 0.15, 0.03, 0.1, FACE_BAND_HZ),  # 0..1
}
FACTORS = ("mouth", "blink", *SMOOTH)


@dataclass(frozen=True)
class Motion:
    """What moves in a clip of T frames.

    Attributes:
        factors: by name of `FACTORS`, (T,) float64: `mouth` 0..1 is how far the lips are apart, `blink` 0..1 how far the lids are closed,
            the others are bounded as `SMOOTH` says.
        mouth: the other parameters of the mouth, which follow from the same phonemes.
    """

    factors: dict[str, np.ndarray]
    mouth: MouthTrack

    @property
    def n_frames(self) -> int:
        return len(self.factors["mouth"])


def draw_motion(
    phones: list[Phone], n_frames: int, fps: float, *, seed: int, person: int, clip: int = 0, lid_mouth_correlation: float = 0.0
) -> Motion:
    """The motion of one clip.

    Args:
        phones: what is spoken, gapless from the first frame on.
        lid_mouth_correlation: 0 for independent factors; otherwise lids and brows follow the mouth with this correlation within the clip,
            for experiments that need factors to be confounded.
    """
    if not 0 <= lid_mouth_correlation < 1:
        raise ValueError(f"lid_mouth_correlation is {lid_mouth_correlation}; it must lie in 0..1, below 1")
    rng = np.random.default_rng([seed, person, clip, 0x307])
    times_s = np.arange(n_frames) / fps
    mouth = mouth_track(phones, times_s + _LEAD_S)
    opening = np.clip(mouth.gap_px / _OPEN_PX, 0, 1)
    blink = _blinks(times_s, opening, rng)
    factors = {"mouth": opening, "blink": blink}
    # Who is drawn early has more freedom; so the order changes from clip to clip, the slow ones first.
    drawn: dict[str, np.ndarray] = {}
    for name in sorted(SMOOTH, key=lambda name: (SMOOTH[name].band_hz, rng.random())):
        drawn[name] = _conditional_track([opening, blink, *drawn.values()], n_frames, fps, SMOOTH[name].band_hz, rng)
    if lid_mouth_correlation:
        drawn["brows"] = _mixed(opening, drawn["brows"], lid_mouth_correlation)
        lids = _mixed(opening, blink, lid_mouth_correlation)
        factors["blink"] = (lids - lids.min()) / np.ptp(lids)
    for (name, bounds), where in zip(SMOOTH.items(), _centres(seed, person, clip), strict=True):
        centre = bounds.centre_low + (bounds.centre_high - bounds.centre_low) * (0.5 + 0.5 * where)
        factors[name] = centre + rng.uniform(bounds.amplitude_low, bounds.amplitude_high) * drawn[name]
    return Motion(factors, mouth)


def _conditional_track(before: list[np.ndarray], n: int, fps: float, band_hz: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) with mean 0 and greatest absolute value 1, within the band, uncorrelated with each of `before`.

    The spectrum falls as 1 / (1 + (f / corner)²), corner = a third of the band. A clip so short that the band has fewer components than
    there are tracks stays uncorrelated with the latest of them only.
    """
    n_components = max(2, min(n - 1, int(2 * band_hz * n / fps)))
    basis = cosines(n, n_components)  # (n, K)
    hz = np.arange(1, n_components + 1) * fps / (2 * n)
    spread = 1 / (1 + (3 * hz / band_hz) ** 2)
    draw = rng.standard_normal(n_components) * spread
    fixed = np.stack([basis.T @ (track - track.mean()) for track in before[-(n_components - 1) :]])  # (C, K)
    fixed /= np.linalg.norm(fixed, axis=1, keepdims=True) + 1e-12
    # Condition a Gaussian of covariance S = diag(spread²) on fixed @ c = 0: c - S A' (A S A')^+ A c.
    gain = spread[:, None] ** 2 * fixed.T
    draw = draw - gain @ (np.linalg.pinv(fixed @ gain, rcond=1e-9) @ (fixed @ draw))
    track = basis @ draw
    return track / (np.abs(track).max() + 1e-12)


def cosines(n: int, n_components: int) -> np.ndarray:
    """(n, n_components) orthonormal DCT-II vectors 1, 2, ... of n samples; number k has k / 2 periods in the n samples."""
    k = np.arange(1, n_components + 1)
    return np.sqrt(2 / n) * np.cos(np.pi * k * (np.arange(n)[:, None] + 0.5) / n)


def _centres(seed: int, person: int, clip: int) -> np.ndarray:
    """(len(SMOOTH),) in -1..1: where in its range each factor stays over the clip; uncorrelated over every `_BLOCK` people."""
    block, row = divmod(person, _BLOCK)
    draws = np.random.default_rng([seed, block, clip, 0x1E7]).standard_normal((_BLOCK, len(SMOOTH)))
    columns, _ = np.linalg.qr(draws - draws.mean(0))
    return columns[row] / np.abs(columns).max(0)


def _mixed(mouth: np.ndarray, own: np.ndarray, correlation: float) -> np.ndarray:
    """(T,) of greatest absolute value 1 that has `correlation` with `mouth` where `own` has none."""
    own = own - own.mean()
    mouth = mouth - mouth.mean()
    own = own - mouth * (own @ mouth) / (mouth @ mouth + 1e-12)
    mixed = correlation * mouth / (np.linalg.norm(mouth) + 1e-12) + np.sqrt(1 - correlation**2) * own / (np.linalg.norm(own) + 1e-12)
    return mixed / (np.abs(mixed).max() + 1e-12)


def _blinks(times_s: np.ndarray, mouth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) 0..1: of several draws of when to blink the one that correlates least with the mouth."""
    draws = [_blinking(times_s, rng) for _ in range(_BLINK_DRAWS)]
    if len(times_s) < 3 or np.ptp(mouth) == 0:
        return draws[0]
    return min(draws, key=lambda blink: abs(np.corrcoef(blink, mouth)[0, 1]) if np.ptp(blink) else 1.0)


def _blinking(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) 0..1: a blink of about a quarter of a second every 1 to 4 s, closing faster than it opens; some are not complete."""
    closed = np.zeros(len(times_s))
    at = float(rng.uniform(0.1, 1.6))
    while at < times_s[-1]:
        closed = np.maximum(closed, float(rng.uniform(0.8, 1.0)) * one_blink(times_s - at))
        at += float(rng.uniform(1.0, 4.0))
    return closed


def one_blink(since_s: np.ndarray) -> np.ndarray:
    """How far the lids are closed, 0..1, by the time since they met."""
    x = np.clip(np.where(since_s < 0, 1 + since_s / 0.12, 1 - (since_s - 0.04) / 0.2), 0, 1)
    return x * x * (3 - 2 * x)
