"""One onnxruntime session a network: the provider that was asked for or an error, bounded memory, one batch shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from curation.onnx_session import open_session
from manifests.errors import UserError

T = TypeVar("T")


class OnnxNetwork:
    """A network with one image input (N, 3, H, W) float32, run with one N.

    A graph whose N is fixed keeps it; of one whose N is free, `batch` is used. Smaller batches are padded with zeros on CUDA, where each
    new shape costs a new search for kernels and new memory; on the CPU, where only the work counts, they are not.

    Args:
        file: of the graph; verified by the caller.
        provider: `cpu` or `cuda`.
        batch: pictures a run.
        input_hw: the height and width that the caller will feed.
        arena_mib: bound of the session's memory on the GPU.
        pad: whether smaller batches are padded; None decides by provider and graph.

    Raises:
        ProviderError: the session does not run where it was asked to.
        UserError: the file is no such network.
    """

    def __init__(self, file: Path, provider: str, batch: int, input_hw: tuple[int, int], arena_mib: int, pad: bool | None = None):
        self.file = file
        # The exhaustive search of cuDNN takes several GB for its workspaces; the arena would double at each extension.
        bounds = {
            "gpu_mem_limit": arena_mib << 20,
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "cudnn_conv_use_max_workspace": "0",
        }
        self._session = open_session(file, provider, cuda_options=bounds)
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape)
        if (
            len(inputs) != 1
            or len(shape) != 4
            or any(isinstance(s, int) and s != w for s, w in zip(shape[1:], (3, *input_hw), strict=True))
        ):
            raise UserError(f"{file} takes {[i.shape for i in inputs]}, not one picture of (N, 3, {input_hw[0]}, {input_hw[1]})")
        fixed = isinstance(shape[0], int)
        self.batch = shape[0] if fixed else batch
        self._pad = fixed or (provider == "cuda" if pad is None else pad)
        self._name = inputs[0].name
        self._feed = np.zeros((self.batch, 3, *input_hw), np.float32)
        self.n_runs = 0

    def run(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of at most `batch` (3, H, W) pictures in the graph's own order, each (len(pictures), ...) float32.

        Raises:
            UserError: onnxruntime failed, as when the GPU's memory does not suffice: no clip's fault, so the run ends, to go on later.
        """
        if len(pictures) > self.batch:
            raise ValueError(f"{len(pictures)} pictures are more than the batch of {self.batch}")
        n = len(pictures)
        for place, picture in zip(self._feed[:n], pictures, strict=True):
            place[...] = picture
        self._feed[n:] = 0
        self.n_runs += 1
        try:
            outputs = self._session.run(None, {self._name: self._feed if self._pad else self._feed[:n]})
        except Exception as error:  # onnxruntime raises classes of its own
            raise UserError(
                f"onnxruntime failed to run {self.file.name}: {' '.join(str(error).split())}; if memory is short, lower"
                " landmark_settings.runtime.pose_batch and detector_batch, or raise pose_arena_mib and detector_arena_mib"
            ) from None
        return [output[:n] for output in outputs]

    def batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """`items` in pieces that `run` takes."""
        return (items[start : start + self.batch] for start in range(0, len(items), self.batch))
