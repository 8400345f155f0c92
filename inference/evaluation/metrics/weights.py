"""Weights of metrics: from the models store, never a pickle with code; a metric without them is unavailable and says what to do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from curation.weights.store import Store
from inference.evaluation.metrics.base import UnavailableError
from manifests.errors import UserError

if TYPE_CHECKING:
    import torch


def found(name: str, models_dir: str | None = None) -> Path:
    """Where the weights called `name` lie, verified.

    Raises:
        UnavailableError: they are missing or wrong.
    """
    try:
        return Store.standard(models_dir).find(name)
    except UserError as error:
        raise UnavailableError(str(error)) from error


def state_dict(path: Path, inside: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """The tensors of a .pth file.

    Args:
        inside: keys under which the tensors may lie, tried in order; the file itself if it has none of them.

    Raises:
        UnavailableError: it holds anything but tensors, or is damaged.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UnavailableError(f"{path} is refused: {' '.join(str(error).split())[:160]}") from error
    for key in inside:
        if isinstance(loaded, dict) and key in loaded:
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UnavailableError(f"{path} is refused: it holds more than named tensors")
    return loaded


def checked_device(device: str) -> str:
    """`device` if it is there.

    Raises:
        UnavailableError: CUDA was asked for and is absent; there is no silent fall-back.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UnavailableError(f"device {device!r} was asked for and torch sees no GPU; use device=cpu")
    return device


def wrong_layout(path: Path, error: Exception) -> UnavailableError:
    return UnavailableError(f"{path} does not hold the published layout: {' '.join(str(error).split())[:160]}")
