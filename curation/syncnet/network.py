"""SyncNet's two towers in the layout of the published `syncnet_v2.model`, and the form in which they run."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from curation.blocks import blocks
from curation.syncnet.score import MFCC_PER_FRAME, WINDOW_FRAMES
from manifests.rows import Rows

CROP_PX = 224
EMBEDDING = 1024
_MFCC_WINDOW = MFCC_PER_FRAME * WINDOW_FRAMES


class SyncNet(nn.Module):
    """Names and shapes of the published weights (`joonson/syncnet_python`, SyncNetModel.S). It is run as `Embedder`."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(  # (B, 1, 13, 20) -> (B, 512, 1, 1)
            *_conv2(1, 64, 3, 1),
            nn.MaxPool2d(1, 1),
            *_conv2(64, 192, 3, 1),
            nn.MaxPool2d(3, (1, 2)),
            *_conv2(192, 384, 3, 1),
            *_conv2(384, 256, 3, 1),
            *_conv2(256, 256, 3, 1),
            nn.MaxPool2d(3, (2, 2)),
            *_conv2(256, 512, (5, 4), 0),
        )
        self.netcnnlip = nn.Sequential(  # (B, 3, T, 224, 224) -> (B, 512, T - 4, 1, 1)
            *_conv3(3, 96, (5, 7, 7), 0, stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3(96, 256, (1, 5, 5), 1, stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv3(256, 256, (1, 3, 3), 1),
            *_conv3(256, 256, (1, 3, 3), 1),
            *_conv3(256, 256, (1, 3, 3), 1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3(256, 512, (1, 6, 6), 0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()


def _conv2(channels: int, out: int, taps: int | tuple[int, int], padding: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, out, taps, padding=padding), nn.BatchNorm2d(out), nn.ReLU()


def _conv3(channels: int, out: int, taps: tuple[int, int, int], padding: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv3d(channels, out, taps, stride=(1, stride, stride), padding=(0, padding, padding))
    return conv, nn.BatchNorm3d(out), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class Embedder:
    """SyncNet for whole clips: bytes go to the device and become numbers there.

    Only the first layer of the lip tower looks along time, so its five frames are stacked as channels and the whole tower runs as
    two-dimensional convolutions over all windows at once, with batch normalisation folded in. The sound tower pads each window with zeros
    in time, so its windows cannot share work.

    Args:
        net: in evaluation mode; not changed.
        device: a torch device.
        windows_at_once: bounds the memory: about 8 MB a window.
    """

    def __init__(self, net: SyncNet, device: str = "cpu", windows_at_once: int = 32):
        self.device = torch.device(device)
        self.windows_at_once = windows_at_once
        self._lips = _as_2d(net.netcnnlip).to(memory_format=torch.channels_last).to(self.device)
        self._sound = _fused(net.netcnnaud).to(memory_format=torch.channels_last).to(self.device)
        self._lip_head = copy.deepcopy(net.netfclip).to(self.device)
        self._sound_head = copy.deepcopy(net.netfcaud).to(self.device)

    @torch.inference_mode()
    def lips(self, crops: np.ndarray) -> np.ndarray:
        """(T, 224, 224, 3) uint8 BGR crops at 25 Hz to (T - 4, 1024) float32, one embedding a window of five frames."""
        n = max(0, len(crops) - WINDOW_FRAMES + 1)
        parts = [np.zeros((0, EMBEDDING), np.float32)]
        for start in range(0, n, self.windows_at_once):
            stop = min(n, start + self.windows_at_once)
            frames = torch.from_numpy(np.ascontiguousarray(crops[start : stop + WINDOW_FRAMES - 1])).to(self.device)
            frames = frames.permute(0, 3, 1, 2)
            windows = torch.cat([frames[i : i + stop - start] for i in range(WINDOW_FRAMES)], dim=1)  # (n, 15, 224, 224) uint8
            hidden = self._lips(windows.to(torch.float32, memory_format=torch.channels_last))
            parts.append(self._lip_head(hidden.flatten(1)).cpu().numpy())
        return np.concatenate(parts)

    def sound(self, mfcc: Rows, n: int) -> np.ndarray:
        """The first `n` windows of (M, 13) cepstra, 0.2 s each, one a video frame: (n, 1024) float32. M is at least 4 n + 16."""
        return np.concatenate([np.zeros((0, EMBEDDING), np.float32), *self.sound_stretches(mfcc, n)])

    def sound_stretches(self, mfcc: Rows, n: int) -> Iterator[np.ndarray]:
        """`sound` in stretches of 8 `windows_at_once`."""
        for block in blocks(n, 8 * self.windows_at_once):
            cepstra = mfcc[MFCC_PER_FRAME * block.start : MFCC_PER_FRAME * (block.stop - 1) + _MFCC_WINDOW].astype(np.float32)
            windows = np.lib.stride_tricks.sliding_window_view(cepstra, _MFCC_WINDOW, axis=0)[::MFCC_PER_FRAME]  # (m, 13, 20)
            with torch.inference_mode():
                chunk = torch.from_numpy(np.ascontiguousarray(windows)).to(self.device)
                hidden = self._sound(chunk[:, None].contiguous(memory_format=torch.channels_last))
                found = self._sound_head(hidden.flatten(1)).cpu().numpy()
            yield found


def _fused(tower: nn.Sequential) -> nn.Sequential:
    """The same map with each batch normalisation folded into the convolution before it."""
    fused: list[nn.Module] = []
    for layer in tower:
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d) and isinstance(fused[-1], nn.Conv2d | nn.Conv3d):
            fused[-1] = fuse_conv_bn_eval(fused[-1], layer)
        else:
            fused.append(layer)
    return nn.Sequential(*fused).eval().requires_grad_(False)


def _in_plane(sizes: str | int | tuple[int, ...]) -> tuple[int, int]:
    """The last two of three sizes (time, height, width), or one size twice."""
    if isinstance(sizes, str):
        raise TypeError(f"a layer whose size is {sizes!r} has no plane")
    return (sizes, sizes) if isinstance(sizes, int) else (sizes[-2], sizes[-1])


def _as_2d(tower: nn.Sequential) -> nn.Sequential:
    """`tower` for windows whose frames are stacked as channels, in the order of time."""
    layers: list[nn.Module] = []
    for layer in _fused(tower):
        if isinstance(layer, nn.Conv3d):
            taps = layer.kernel_size[0]
            kernel, stride, padding = (_in_plane(sizes) for sizes in (layer.kernel_size, layer.stride, layer.padding))
            flat = nn.Conv2d(layer.in_channels * taps, layer.out_channels, kernel, stride, padding)
            flat.weight = nn.Parameter(layer.weight.permute(0, 2, 1, 3, 4).reshape(flat.weight.shape), requires_grad=False)
            flat.bias = layer.bias
            layers.append(flat)
        elif isinstance(layer, nn.MaxPool3d):
            layers.append(nn.MaxPool2d(_in_plane(layer.kernel_size), _in_plane(layer.stride), _in_plane(layer.padding)))
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval()
