"""The towers in torch, for training only; `export` folds them into the NumPy form that inference uses."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from curation.lipsync.features import MEL_BANDS, MELS_PER_FRAME, N_MOUTH
from curation.lipsync.towers import Conv, Tower, Towers, padding


class TorchTower(nn.Module):
    """Convolution, batch norm, ReLU, dropout, repeated; a linear map; unit length.

    Args:
        channels: of the input.
        layers: (taps, stride) of each convolution.
        width, embedding: channels of the hidden layers and of the output.
    """

    def __init__(self, channels: int, layers: tuple[tuple[int, int], ...], width: int, embedding: int, dropout: float):
        super().__init__()
        self._layers: list[tuple[nn.Conv1d, nn.BatchNorm1d]] = []
        for taps, stride in layers:
            self._layers.append((nn.Conv1d(channels, width, taps, stride), nn.BatchNorm1d(width)))
            channels = width
        self.body = nn.ModuleList([part for layer in self._layers for part in layer])  # so that torch knows of them
        self.head = nn.Conv1d(channels, embedding, 1)
        self.dropout = nn.Dropout(dropout)
        field, stride = 1, 1
        for taps, step in layers:
            field, stride = field + (taps - 1) * stride, stride * step
        self.pad = padding(field, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, stride * T) -> (B, embedding, T), unit length over the embedding."""
        x = functional.pad(x, self.pad, mode="replicate")
        for conv, norm in self._layers:
            x = self.dropout(functional.relu(norm(conv(x))))
        return functional.normalize(self.head(x), dim=1)

    def fold(self) -> Tower:
        """The same map with batch norm (running statistics) folded in, as NumPy."""
        convs = []
        for conv, norm in self._layers:
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None or conv.bias is None:
                raise TypeError("only layers with bias and running statistics can be folded")
            scale = norm.weight / torch.sqrt(variance + norm.eps)
            weight, bias = conv.weight * scale[:, None, None], (conv.bias - mean) * scale + norm.bias
            convs.append(Conv(_numpy(weight), _numpy(bias), conv.stride[0]))
        if self.head.bias is None:
            raise TypeError("the head needs a bias")
        convs.append(Conv(_numpy(self.head.weight), _numpy(self.head.bias)))
        return Tower(tuple(convs))


class SyncNetwork(nn.Module):
    """Mouth tower (9 frames) and sound tower (0.24 s), and the learned sharpness of the curve."""

    def __init__(self, width: int, embedding: int, dropout: float, mouth_channels: int = N_MOUTH):
        super().__init__()
        self.mouth = TorchTower(mouth_channels, ((3, 1), (3, 1), (3, 1), (3, 1)), width, embedding, dropout)
        self.sound = TorchTower(MEL_BANDS, ((5, 1), (MELS_PER_FRAME, MELS_PER_FRAME), (3, 1), (3, 1)), width, embedding, dropout)
        self.log_sharpness = nn.Parameter(torch.tensor(float(np.log(30.0))))

    def export(self, name: str) -> Towers:
        return Towers(name, self.mouth.fold(), self.sound.fold())


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().astype(np.float32)
