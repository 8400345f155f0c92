"""Hard cuts between the frames that everybody else reads: at every place of a clip, and neither flashes nor steps of exposure."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np

from curation.contracts import Evidence, Frame, MediaInfo, Scorer
from manifests import column

_WINDOW = 2  # neighbours on either side that a difference must stand out from
_QUIET = 0.5  # differences below are noise: nothing stands out from less
_DARK, _PALE = 32, 16  # brightness and chroma (8 bits) below which saturation and hue are noise: they count the less, the less there is


@dataclass
class Cuts(Scorer):
    """Counts hard cuts between sampled frames.

    A cut is where the HSV difference to the previous frame stands out from up to two neighbours on either side (`adaptive_ratio`) and is
    large in itself (`min_difference`, mean 8-bit HSV distance, PySceneDetect's but for the dark), so that a fast head turn, a camera pan or
    a fade is none. Below `hard_difference` it must stand out the more, the smaller it is: a head that jerks after a frame that the camera
    repeated reaches 4 times its neighbours, soft cuts at least 7 (104 real clips). Nor is a change of light a cut: a step of exposure,
    which one curve of brightness explains, or a flash or blank of up to `max_flash_frames` frames, after which the picture from before is
    back. Where another picture follows the blank, it begins a shot; as many blank frames at an end of the clip are no shot of their own.
    """

    name = "cuts"
    version = 5
    columns = (column("n_cuts"),)
    reads = frozenset({"frames"})

    adaptive_ratio: float = 3.0
    min_difference: float = 10.0
    hard_difference: float = 25.0
    min_scene_ms: float = 200.0
    compare_width_px: int = 160
    max_flash_frames: int = 5

    def begin(self, info: MediaInfo) -> None:
        self._recent: deque[np.ndarray] = deque(maxlen=self.max_flash_frames + 2)  # small HSV pictures
        self._times_ms = array("d")
        self._differences = array("d")  # to the frame before; the first is 0
        self._inserted: set[int] = set()  # first frames of a few that another shot left, or of a shot behind a blank: cuts on their own
        self._of_light: set[int] = set()  # frames whose difference is a change of light
        self._repeated = bytearray()  # a frame: whether it shows the picture before once more, as the file has fewer than are sampled
        self._blank = bytearray()  # a frame: whether it is hardly a picture
        self._shown: np.ndarray | None = None

    def on_frame(self, frame: Frame) -> None:
        import cv2

        self._repeated.append(frame.rgb is self._shown)
        self._shown = frame.rgb
        height, width = frame.rgb.shape[:2]
        step = max(1, width // self.compare_width_px)  # a whole number, for which averaging blocks of pixels is many times faster
        size = (width // step, max(1, height // step))
        whole = frame.rgb[: max(1, size[1] * step), : size[0] * step]
        small = cv2.cvtColor(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV)
        index = len(self._times_ms)
        self._times_ms.append(frame.time_ms)
        difference = _difference(self._recent[-1], small) if self._recent else 0.0
        self._differences.append(difference)
        self._blank.append(_is_blank(small[..., 2]))
        if self._recent and difference >= self.min_difference:
            if _one_curve_explains(self._recent[-1][..., 2], small[..., 2]):
                self._of_light.add(index)
            else:
                self._recognise_flash(index, small)
        self._recent.append(small)

    def _recognise_flash(self, index: int, small: np.ndarray) -> None:
        """Whether the picture is as it was some frames before; all between was that picture with more light, or blank, or another shot."""
        jump = self._differences[index]
        if self._begins_behind_a_blank(index, small):
            return
        for back in range(2, len(self._recent) + 1):
            before, between = self._recent[-back], list(self._recent)[len(self._recent) - back + 1 :]
            jumped = min(jump, self._differences[index - back + 1])
            returned = _difference(before, small)
            if returned >= jumped / 2 and not _one_curve_explains(before[..., 2], small[..., 2]):
                continue
            if all(_lit_or_blank(before[..., 2], picture[..., 2]) for picture in between):
                self._of_light |= set(range(index - back + 1, index + 1))
            elif returned < self.min_difference and jumped > 2 * self.min_difference:
                self._inserted.add(index - back + 1)
            return

    def _begins_behind_a_blank(self, index: int, small: np.ndarray) -> bool:
        """Whether blank frames hide where one shot becomes another: neither of their edges stands out from the other, or both do."""
        n_blank = next((n for n, picture in enumerate(reversed(self._recent)) if not _is_blank(picture[..., 2])), 0)
        before, first = self._recent[-1 - n_blank], index - n_blank
        if not n_blank or first < 2 or _is_blank(small[..., 2]):  # of a single frame it is not known how much moves anyway
            return False
        moved = max(self._differences[max(1, first - _WINDOW) : first]) * (n_blank + 1)
        if _difference(before, small) < max(self.min_difference, moved) or _one_curve_explains(before[..., 2], small[..., 2]):
            return False
        self._inserted.add(index)
        self._of_light |= set(range(first, index))
        return True

    def finish(self, evidence: Evidence) -> dict[str, int]:
        return {"n_cuts": len(self.cut_frames())}

    def cut_frames(self) -> list[int]:
        """Indices of the sampled frames that begin a new shot."""
        differences = np.array(self._differences)
        steady = differences.copy()
        # What a flash does to the picture hides no cut beside it.
        steady[[*self._of_light, *self._edges_of_outer_blanks(), *self._fades()]] = 0.0
        cuts: list[int] = []
        for i in np.flatnonzero(steady >= self.min_difference).tolist():
            beside = [steady[k] for step in (-1, 1) for k in self._neighbours(i, step)]
            usual = max(sum(beside) / len(beside), _QUIET) if beside else _QUIET
            ratio = self.adaptive_ratio * max(1.0, self.hard_difference / max(steady[i], _QUIET))
            far_enough = not cuts or self._times_ms[i] - self._times_ms[cuts[-1]] >= self.min_scene_ms
            if (i in self._inserted or steady[i] >= ratio * usual) and far_enough:
                cuts.append(i)
        return cuts

    def _edges_of_outer_blanks(self) -> list[int]:
        """The first picture behind the blank frames that begin a clip, and the first of the blank frames that end it."""
        n_frames, length = len(self._times_ms), self.max_flash_frames
        starts = next((i for i in range(min(length + 1, n_frames)) if not self._blank[i]), 0)
        ends = next((i for i in range(min(length + 1, n_frames)) if not self._blank[n_frames - 1 - i]), 0)
        return [edge for edge, n_blank in ((starts, starts), (n_frames - ends, ends)) if n_blank]

    def _fades(self) -> list[int]:
        """Frames where blank becomes a picture, or a picture blank, in steps: the picture's next or last one is a change of light too."""
        light, blank = self._of_light, self._blank
        return [i for i in range(1, len(self._times_ms)) if (blank[i - 1] and i + 1 in light) or (blank[i] and i - 1 in light)]

    def _neighbours(self, index: int, step: int) -> list[int]:
        """Up to `_WINDOW` frames before (`step` -1) or after (1) that show a new picture; the first frame follows none."""
        found: list[int] = []
        while len(found) < _WINDOW and 0 < (index := index + step) < len(self._times_ms):
            if not self._repeated[index]:
                found.append(index)
        return found


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of two (H, W, 3) uint8 HSV pictures: hue, saturation and value alike where there is light and colour to see."""
    hue, saturation, value = np.moveaxis(np.abs(a.astype(np.int16) - b), -1, 0)
    light = np.minimum(np.minimum(a[..., 2], b[..., 2]), _DARK) / np.float32(_DARK)
    colour = np.minimum(np.minimum(_chroma(a), _chroma(b)), _PALE) / np.float32(_PALE)
    return float((hue * colour + saturation * light + value).mean() / 3)


def _chroma(hsv: np.ndarray) -> np.ndarray:
    return hsv[..., 1].astype(np.uint16) * hsv[..., 2] // 255


def _one_curve_explains(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether one of two (H, W) uint8 brightnesses is the other through one rising curve, as when the exposure changes."""
    return _is_curve_of(a, b) or _is_curve_of(b, a)  # where one of them is clipped, only the other way fits


def _is_curve_of(a: np.ndarray, b: np.ndarray) -> bool:
    x, y = a.ravel().astype(np.float32), b.ravel().astype(np.float32)
    changed = np.abs(y - x).mean()
    if changed < 1 or min(x.std(), y.std()) < 4:  # nothing of the light, or nothing to recognise the picture by
        return False
    order = np.argsort(x, kind="stable")
    matched = np.empty_like(y)
    matched[order] = np.sort(y)  # `a` with the brightnesses of `b`
    left = np.abs(y - matched).mean()
    return bool(left < 0.35 * changed and np.corrcoef(matched, y)[0, 1] > 0.9)


def _lit_or_blank(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether (H, W) uint8 brightness `b` is `a` with more light almost everywhere, or hardly a picture at all."""
    return bool((b.astype(np.int16) >= a.astype(np.int16) - 8).mean() > 0.95 or _is_blank(b))


def _is_blank(brightness: np.ndarray) -> bool:
    return bool(brightness.std() < 8)
