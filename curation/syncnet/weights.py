"""Reads the published weights files without running what a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from curation.weights import ModelRefusedError
from manifests.errors import UserError

M = TypeVar("M", bound=nn.Module)


def require_device(device: str) -> None:
    """Raises UserError where a GPU is asked for that torch does not see."""
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(
            f"SyncNet was to run on {device}, but torch sees no GPU; ask for the slow device: scorers.syncnet.runtime.device=cpu"
        )


def load_weights(net: M, path: Path) -> M:
    """Fill `net` from a state dictionary of exactly its layout and put it into evaluation mode.

    Raises:
        ModelRefusedError: the file is damaged, holds more than tensors, or has another layout.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelRefusedError(f"{path} is damaged or holds more than tensors, and is not opened: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelRefusedError(f"{path} holds no state dictionary of tensors")
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ModelRefusedError(f"{path} is no {type(net).__name__} in the published layout: {' '.join(lines[1:2])[:200]}") from None
    return net.eval().requires_grad_(False)
