"""Weights in the published layouts, and clips for them: random ones of realistic size, and hand-made ones whose answer is known.

The hand-made SyncNet embeds the brightness of the crop and the loudness of the sound, one number each. The hand-made S3FD finds bright
discs. None of them is ever a Sync-C: they are planted in tests only.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import nn

from curation.syncnet.network import SyncNet
from curation.syncnet.s3fd import S3FD

DISC_PX = 150  # across, of the disc that `disc_detector` finds


@cache
def random_syncnet() -> SyncNet:
    """Random weights whose activations are of order one and whose embeddings are about 10 apart, as the published ones' are."""
    generator = torch.Generator().manual_seed(3)
    net = SyncNet()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
                layer.weight.normal_(0, layer.weight[0].numel() ** -0.5, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
        crops, audio = talking_crops(12, seed=1)
        _calibrate(net, crops, audio)
        for head in (net.netfclip, net.netfcaud):
            head[3].weight *= 0.2
    return net.eval()


def _calibrate(net: SyncNet, crops: np.ndarray, audio: np.ndarray) -> None:
    """Set the statistics of batch normalisation from one batch."""
    from curation.syncnet.mfcc import mfcc

    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            layer.momentum = 1.0
    net.train()
    windows = torch.from_numpy(np.stack([crops[i : i + 5] for i in range(8)])).permute(0, 4, 1, 2, 3).float()
    net.netfclip(net.netcnnlip(windows).flatten(1))
    cepstra = mfcc(audio).astype(np.float32)
    sounds = torch.from_numpy(np.stack([cepstra[4 * i : 4 * i + 20].T for i in range(7)]))[:, None]
    net.netfcaud(net.netcnnaud(sounds).flatten(1))


def talking_crops(n_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 224, 224, 3) uint8 crops of a texture with a mouth-like disc that opens with the loudness of (640 n,) int16 sound."""
    rng = np.random.default_rng(seed)
    base = cv2.GaussianBlur(rng.normal(128, 200, (224, 224, 3)), (0, 0), 6)
    open_ = np.convolve(rng.uniform(0, 1, n_frames + 8), np.ones(4) / 4, "same")[4:-4]
    crops = []
    for value in open_:
        crop = base.copy()
        cv2.ellipse(crop, (112, 150), (40, 1 + int(30 * value)), 0, 0, 360, (20, 20, 60), -1)
        crops.append(np.clip(crop + rng.normal(0, 3, crop.shape), 0, 255).astype(np.uint8))
    loudness = np.repeat(open_, 640) * 8000 + 50
    return np.stack(crops), (rng.normal(size=640 * n_frames) * loudness).clip(-32768, 32767).astype(np.int16)


@cache
def brightness_syncnet(black: float = 0.0, white: float = 255.0) -> SyncNet:
    """Lips: brightness of the middle frame, 0 at `black`, 4 at `white`. Sound: half of what its log energy, in the middle, exceeds 14."""
    net = SyncNet()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
                layer.weight.zero_()
                layer.bias.zero_()
                middle = tuple(taps // 2 for taps in layer.weight.shape[2:])
                layer.weight[(0, 0, *middle)] = 1
        lips, sound = net.netcnnlip, net.netcnnaud
        lips[0].weight[0, 0].zero_()
        lips[0].weight[0, :, 2, 3, 3] = 1 / 3
        lips[18].weight[0, 0] = 1 / 36
        sound[-3].weight[0, 0].zero_()
        sound[-3].weight[0, 0, 0, 1:3] = 1 / 2
        lips[0].bias[0] = -black
        net.netfclip[3].weight[0, 0] = 4 / (white - black)
        net.netfcaud[3].weight[0, 0] = 1 / 2
        net.netfcaud[3].bias[0] = -7
    return net.eval()


def flashing(n_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n,) brightness in 0..255 that jumps every fourth frame, and (640 n,) int16 sound that is loud when it is bright."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0, 1, n_frames // 4 + 1), 4)[:n_frames]
    sound = rng.normal(size=640 * n_frames) * np.exp(np.repeat(4.0 * level + 4.0, 640))
    return (255 * level).astype(np.uint8), sound.clip(-32768, 32767).astype(np.int16)


def later(audio: np.ndarray, n_frames: int) -> np.ndarray:
    """The sound, so many frames later (earlier if negative), as long as before."""
    return np.roll(audio, 640 * n_frames)


@cache
def random_s3fd() -> S3FD:
    """Random weights; the score heads are spread so that some scores are high and most are not."""
    generator = torch.Generator().manual_seed(5)
    net = S3FD()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
        for norm in (net.L2Norm3_3, net.L2Norm4_3, net.L2Norm5_3):
            norm.weight.uniform_(4, 10, generator=generator)
        _spread_scores(net)
    return net.eval()


def _spread_scores(net: S3FD) -> None:
    """Scale and shift the face scores so that about one place in fifteen is sure, at every stride."""
    taken: dict[int, torch.Tensor] = {}
    hooks = [head.register_forward_hook(lambda _, __, out, i=i: taken.update({i: out})) for i, head in enumerate(net.conf)]
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 256, 256)).astype(np.float32) - 120
    net(torch.from_numpy(picture))
    for hook in hooks:
        hook.remove()
    for i, head in enumerate(net.conf):
        score = taken[i][0, -1]
        head.weight[:-1], head.bias[:-1] = 0, 0
        scale = 2 / max(float(score.std(correction=0)), 1e-3)
        head.weight[-1] *= scale
        head.bias[-1] = (head.bias[-1] - score.mean()) * scale - 0.8


@cache
def disc_detector() -> S3FD:
    """Finds discs that are bright in the middle: the heads of stride 8 look at the trunk's first channel, everything else says no."""
    net = S3FD()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.bias.zero_()
        for layer in net.vgg:
            if isinstance(layer, nn.Conv2d):
                middle = layer.weight.shape[-1] // 2
                layer.weight[0, 0, middle, middle] = 1
                layer.bias[1] = 60  # a constant beside it, so that normalisation leaves brightness
        for head in net.conf:
            head.bias[0], head.bias[-1] = 5, -5
        net.conf[1].weight[1, 0] = 3.0
        net.conf[1].bias[1] = -12
    return net.eval()


def disc_picture(width: int, height: int, x: float, y: float, level: int) -> np.ndarray:
    """(H, W, 3) uint8: a disc about (x, y), brightest in its middle, on a dark ground with some texture; `level` sets its red."""
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    glow = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * (DISC_PX / 2.5) ** 2))
    ground = 40 + 15 * np.sin(xx / 17) * np.cos(yy / 23)
    picture = np.stack([ground + 215 * glow, ground + (level / 255) * 150 * glow, ground + (level / 255) * 150 * glow], axis=-1)
    return picture.clip(0, 255).astype(np.uint8)
