"""Checks of tensors at the model's doors: the message names the tensor, the shape it has and the shape it needs."""

from __future__ import annotations

import torch


class ShapeError(ValueError):
    """A tensor of the wrong shape or kind."""


class Shapes:
    """Sizes named by letters, bound by the first tensor that has them and demanded of all later ones.

    `Shapes().check("latents", latents, "B", "F", 4, "h", "w")` binds B, F, h and w.
    """

    def __init__(self, **sizes: int):
        self.sizes = sizes

    def check(self, name: str, tensor: torch.Tensor, *pattern: int | str) -> None:
        if not isinstance(tensor, torch.Tensor):
            raise ShapeError(f"{name} is a {type(tensor).__name__}; it needs to be a tensor of shape {self._needed(pattern)}")
        shape = tuple(tensor.shape)
        fits = len(shape) == len(pattern) and all(
            size == (part if isinstance(part, int) else self.sizes.get(part, size)) for size, part in zip(shape, pattern, strict=True)
        )
        if not fits:
            raise ShapeError(f"{name} has shape {shape}; it needs {self._needed(pattern)}")
        self.sizes.update({part: size for size, part in zip(shape, pattern, strict=True) if isinstance(part, str)})

    def _needed(self, pattern: tuple[int | str, ...]) -> str:
        parts = [str(part) if isinstance(part, int) else f"{part}={self.sizes[part]}" if part in self.sizes else part for part in pattern]
        return f"({', '.join(parts)})"


def require_multiple(name: str, size: int, of: int, why: str) -> None:
    if size % of:
        raise ShapeError(f"{name} is {size}; it needs a multiple of {of} ({why})")
