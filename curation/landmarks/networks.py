"""MediaPipe's face networks, whose weights lie beside this module, and one LiteRT interpreter a network."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

_WEIGHTS = Path(__file__).resolve().parent / "weights"  # its README says where they come from


class Network:
    """A TFLite network with one image input (1, S, S, 3) float32, on one thread.

    Loaded at the first use, so that settings can be made and pickled without LiteRT.
    """

    def __init__(self, file_name: str):
        self.file_name = file_name

    def __getstate__(self) -> dict:
        return {"file_name": self.file_name}

    @cached_property
    def _interpreter(self) -> Any:  # its package has no types
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(_WEIGHTS / self.file_name), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    @cached_property
    def _input(self) -> dict:
        return self._interpreter.get_input_details()[0]

    @cached_property
    def _outputs(self) -> list[int]:
        return [detail["index"] for detail in self._interpreter.get_output_details()]

    @cached_property
    def size_px(self) -> int:
        return int(self._input["shape"][1])

    def run(self, image: np.ndarray, scale: float, offset: float) -> list[np.ndarray]:
        """Feed `image * scale + offset`.

        Args:
            image: (S, S, 3) uint8 RGB.

        Returns:
            the network's outputs in its own order, float32, as copies.
        """
        tensor = self._interpreter.tensor(self._input["index"])()[0]
        np.multiply(image, np.float32(scale), out=tensor, casting="unsafe")
        if offset:
            tensor += np.float32(offset)
        del tensor  # LiteRT refuses to run while a view of its memory is alive
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -80.0), 80.0)))
