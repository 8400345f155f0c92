"""Networks that lie in the device's memory only while they work, for small GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from inference.models.codecs import LatentCodec

DECODE_AT_ONCE = {"vae": 32, "model": 256}  # frames that are kept as latents until moving the networks pays


class OffloadedCodec:
    """A codec whose network is on the device only while it encodes or decodes. A `LatentCodec`.

    Args:
        codec: works wherever its network is.
        vae: the codec's network.
        device: where to work.
        makes_room: a network that leaves the device meanwhile and comes back (offload "model"); None leaves it there (offload "vae").
    """

    def __init__(self, codec: LatentCodec, vae: nn.Module, device: torch.device, makes_room: nn.Module | None = None):
        self._codec, self._vae, self._device, self._makes_room = codec, vae, device, makes_room
        self.latent_channels = codec.latent_channels
        self.channel_weights = codec.channel_weights
        self.decode_at_once = DECODE_AT_ONCE["vae" if makes_room is None else "model"]
        vae.to("cpu")
        if makes_room is not None:
            makes_room.to(device)

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        with self._at_work():
            return self._codec.encode(images, generator)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        with self._at_work():
            return self._codec.decode(latents)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        if self._makes_room is not None:
            self._makes_room.to("cpu")
        self._vae.to(self._device)
        try:
            yield
        finally:
            self._vae.to("cpu")
            if self._makes_room is not None:
                self._makes_room.to(self._device)
