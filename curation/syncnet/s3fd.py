"""The face detector of SyncNet's own pipeline: S3FD (Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector", ICCV 2017).

Layout of the published `sfd_face.pth`; constants of `joonson/syncnet_python` (detectors/s3fd).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SCALE = 0.25  # of the picture that the detector sees
MIN_SCORE = 0.9  # this and what follows as `syncnet_python` detects faces
_MEAN_RGB = (123.0, 117.0, 104.0)  # of the pictures it was trained on, subtracted
_STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHOR_PX = tuple(4 * stride for stride in _STRIDES)
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_MAX_CANDIDATES = 5000  # boxes before the first suppression
_MAX_KEPT = 750  # boxes after it
_FIRST_IOU, _FINAL_IOU = 0.3, 0.1  # above these, two boxes are one face: over the picture, then over what was kept
_TAPPED_BEFORE = (16, 23, 30)  # the features before these are heads' inputs, after normalisation


class S3FD(nn.Module):
    """The network: a VGG-16 trunk, four extra convolutions, and a box and a score head at six strides."""

    def __init__(self) -> None:
        super().__init__()
        self.vgg = nn.ModuleList(_trunk())
        self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3 = ChannelNorm(256), ChannelNorm(512), ChannelNorm(512)
        self.extras = nn.ModuleList(
            [nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, 1), nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, 1)]
        )
        channels = (256, 512, 512, 1024, 512, 256)
        self.loc = nn.ModuleList(nn.Conv2d(c, 4, 3, padding=1) for c in channels)
        self.conf = nn.ModuleList(nn.Conv2d(c, 4 if i == 0 else 2, 3, padding=1) for i, c in enumerate(channels))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) RGB less the mean, to boxes (B, A, 4) x0, y0, x1, y1 in 0..1 and face scores (B, A)."""
        size, features = x.shape[2:], []
        norms = dict(zip(_TAPPED_BEFORE, (self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3), strict=True))
        for i, layer in enumerate(self.vgg):
            if i in norms:
                features.append(norms[i](x))
            x = layer(x)
        features.append(x)
        for i, layer in enumerate(self.extras):
            x = functional.relu(layer(x))
            if i % 2:
                features.append(x)
        boxes, scores = [], []
        for i, feature in enumerate(features):
            conf = self.conf[i](feature)
            if i == 0:  # the smallest anchors have three background scores, of which the highest counts
                conf = torch.cat([conf[:, :3].amax(dim=1, keepdim=True), conf[:, 3:]], dim=1)
            boxes.append(self.loc[i](feature).flatten(2).transpose(1, 2))
            scores.append(conf.softmax(dim=1)[:, 1].flatten(1))
        anchors = torch.cat([_anchors(f.shape[2:], size, i) for i, f in enumerate(features)]).to(x.device)
        return _decoded(torch.cat(boxes, 1), anchors), torch.cat(scores, 1)


class ChannelNorm(nn.Module):
    """Each place's channels to length one, times a learned weight a channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight[:, None, None] * (x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))


def _trunk() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for block, (out, n) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for _ in range(n):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=block == 2))
    return [*layers, nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()]


def _anchors(grid: torch.Size, size: torch.Size, level: int) -> torch.Tensor:
    """(cells, 4) centre x, centre y, width, height of the one square anchor a cell, in parts of the picture."""
    height, width = size
    y = (torch.arange(grid[0]) + 0.5) * _STRIDES[level] / height
    x = (torch.arange(grid[1]) + 0.5) * _STRIDES[level] / width
    cy, cx = torch.meshgrid(y, x, indexing="ij")
    sides = torch.tensor([_ANCHOR_PX[level] / width, _ANCHOR_PX[level] / height]).expand(cx.numel(), 2)
    return torch.cat([torch.stack([cx.flatten(), cy.flatten()], dim=1), sides], dim=1)


def _decoded(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    centre = anchors[:, :2] + offsets[..., :2] * _CENTRE_VARIANCE * anchors[:, 2:]
    half = anchors[:, 2:] * torch.exp(offsets[..., 2:] * _SIZE_VARIANCE) / 2
    return torch.cat([centre - half, centre + half], dim=-1)


class FaceDetector:
    """S3FD on whole pictures, several at once.

    Args:
        net: in evaluation mode.
        device: a torch device.
        scale: the picture is scaled by so much first (0.25: a face of 100 px is seen at 25 px).
        min_score: 0..1.
    """

    def __init__(self, net: S3FD, device: str = "cpu", scale: float = SCALE, min_score: float = MIN_SCORE):
        self.device = torch.device(device)
        self._net = net.to(memory_format=torch.channels_last).to(self.device)
        self._scale = scale
        self._min_score = min_score

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 scaled as the network sees it."""
        import cv2

        return cv2.resize(rgb, (0, 0), fx=self._scale, fy=self._scale, interpolation=cv2.INTER_LINEAR)

    @torch.inference_mode()
    def detect(self, prepared: Sequence[np.ndarray], size_px: tuple[int, int]) -> list[np.ndarray]:
        """Faces of pictures of one size.

        Args:
            prepared: what `prepare` gave.
            size_px: (width, height) of the whole picture.

        Returns:
            For each, (n, 5) float64: x0, y0, x1, y1 in pixels of the whole picture, score; best first.
        """
        x = torch.from_numpy(np.stack(prepared)).to(self.device).permute(0, 3, 1, 2)
        x = x.to(torch.float32, memory_format=torch.channels_last) - torch.tensor(_MEAN_RGB, device=self.device)[:, None, None]
        boxes, scores = self._net(x)
        extent = np.array([*size_px, *size_px], np.float64)
        found = []
        for box, score in zip(boxes, scores, strict=True):
            sure = score > self._min_score  # a face that is not sure cannot displace one that is
            best = torch.argsort(score[sure], descending=True)[:_MAX_CANDIDATES]
            faces = torch.cat([box[sure], score[sure, None]], dim=1)[best].cpu().numpy().astype(np.float64)
            faces = without_overlap(faces, _FIRST_IOU)[:_MAX_KEPT]
            faces[:, :4] *= extent
            found.append(without_overlap(faces, _FINAL_IOU))
        return found


def without_overlap(faces: np.ndarray, max_iou: float) -> np.ndarray:
    """Of (n, 5) boxes with scores, best first, those that no better one overlaps by more than `max_iou`."""
    areas = np.prod(faces[:, 2:4] - faces[:, :2], axis=1)
    kept = np.ones(len(faces), bool)
    for i in range(len(faces)):
        if kept[i]:
            later = faces[i + 1 :]
            sides = np.minimum(faces[i, 2:4], later[:, 2:4]) - np.maximum(faces[i, :2], later[:, :2])
            shared = np.prod(np.maximum(sides, 0), axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                kept[i + 1 :] &= ~(shared / (areas[i] + areas[i + 1 :] - shared) > max_iou)
    return faces[kept]
