"""The two towers at inference, in NumPy: mouth features and log-mel to unit embeddings at 25 Hz.

Plain stacks of 1-D convolutions with ReLU and a last linear map; batch normalisation is folded into the convolutions when the weights are
written. The idea of two towers trained on synchrony alone is SyncNet's (Chung and Zisserman, "Out of time: automated lip sync in the
wild", ACCV workshops 2016); these are far smaller and see landmarks instead of pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from curation.lipsync.features import MEL_BANDS, MELS_PER_FRAME, N_MOUTH
from manifests.errors import UserError

SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "landmark_sync.safetensors"
FORMAT = "landmark-sync"
FORMAT_VERSION = "1"


class WeightsError(UserError):
    """A weights file that is missing, damaged or of another kind; the message says what to do."""


@dataclass(frozen=True)
class Conv:
    """One convolution over time: weight (out, in, taps) and bias (out,), both float32."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1

    @property
    def taps(self) -> int:
        return self.weight.shape[2]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(T, in) -> ((T - taps) // stride + 1, out)."""
        windows = np.lib.stride_tricks.sliding_window_view(x, self.taps, axis=0)[:: self.stride]  # (T', in, taps)
        flat = windows.reshape(len(windows), -1)
        return flat @ self.weight.reshape(len(self.weight), -1).T + self.bias


@dataclass(frozen=True)
class Tower:
    """Convolutions with ReLU between them; the last is linear. One unit vector comes out for every video frame."""

    convs: tuple[Conv, ...]

    @property
    def stride(self) -> int:
        """Rows of input for each row of output."""
        return int(np.prod([conv.stride for conv in self.convs]))

    @property
    def field(self) -> int:
        """Rows of input that one row of output sees."""
        rows = 1
        for conv in reversed(self.convs):
            rows = (rows - 1) * conv.stride + conv.taps
        return rows

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(stride * T, channels) -> (T, embedding), float32, unit length; the ends are padded with the first and the last row."""
        n = len(x) // self.stride
        if n == 0:
            return np.zeros((0, len(self.convs[-1].bias)), dtype=np.float32)
        before, after = padding(self.field, self.stride)
        y = np.pad(x[: n * self.stride].astype(np.float32, copy=False), ((before, after), (0, 0)), mode="edge")
        for conv in self.convs[:-1]:
            y = np.maximum(conv(y), 0)
        y = self.convs[-1](y)
        return y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)


def padding(field: int, stride: int) -> tuple[int, int]:
    """Rows to add before and after so that `stride * T` rows give T; the field is centred on the rows of its own frame."""
    total = field - stride
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Towers:
    """Both towers and their name (`sync_model` of the manifest)."""

    name: str
    mouth: Tower
    sound: Tower

    @property
    def n_parameters(self) -> int:
        return sum(conv.weight.size + conv.bias.size for tower in (self.mouth, self.sound) for conv in tower.convs)


def save_towers(path: str | Path, towers: Towers, facts: dict[str, str]) -> None:
    """Write both towers as safetensors, atomically; `facts` go to the file's metadata."""
    from safetensors.numpy import save

    from manifests.atomic import atomic_path

    tensors = {}
    for part, tower in (("mouth", towers.mouth), ("sound", towers.sound)):
        for i, conv in enumerate(tower.convs):
            tensors[f"{part}.{i}.weight"] = np.ascontiguousarray(conv.weight, dtype=np.float32)
            tensors[f"{part}.{i}.bias"] = np.ascontiguousarray(conv.bias, dtype=np.float32)
    strides = {part: [conv.stride for conv in tower.convs] for part, tower in (("mouth", towers.mouth), ("sound", towers.sound))}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "name": towers.name, "strides": json.dumps(strides)}
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(save(tensors, metadata=head | facts))


@lru_cache(maxsize=4)
def load_towers(path: str | Path = SHIPPED_WEIGHTS) -> Towers:
    """Both towers from a safetensors file, by default the one that ships with the package.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise WeightsError(f"no lip-sync weights at {path}: train some with `python -m curation train-lipsync MANIFEST --out DIR`")
    try:
        with safe_open(str(path), framework="numpy") as file:
            head = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file: {error}") from error
    if head.get("format") != FORMAT or head.get("format_version") != FORMAT_VERSION:
        raise WeightsError(f"{path} holds no {FORMAT} weights of version {FORMAT_VERSION}: `python -m curation train-lipsync` makes some")
    try:
        strides = json.loads(head["strides"])
        mouth, sound = (
            Tower(tuple(Conv(tensors[f"{part}.{i}.weight"], tensors[f"{part}.{i}.bias"], int(s)) for i, s in enumerate(strides[part])))
            for part in ("mouth", "sound")
        )
        towers = Towers(head["name"], mouth, sound)
        _check(towers)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    return towers


def _check(towers: Towers) -> None:
    for tower, channels, stride in ((towers.mouth, N_MOUTH, 1), (towers.sound, MEL_BANDS, MELS_PER_FRAME)):
        for conv in tower.convs:
            if conv.weight.ndim != 3 or conv.weight.shape[:2] != (len(conv.bias), channels):
                raise ValueError(f"a convolution of shape {conv.weight.shape} after {channels} channels")
            channels = len(conv.bias)
        if tower.stride != stride:
            raise ValueError(f"a tower of stride {tower.stride}, not {stride}")
