"""What Stable Diffusion's autoencoder costs at training: arithmetic and memory by pixel."""

from __future__ import annotations

from inference.models.components import InferenceConfig

# Counted by torch's FlopCounterMode at 512 px, where its one attention is 3 % of the encoder's.
ENCODE_FLOPS_A_PIXEL = 1116.7e9 / 512**2
DECODE_FLOPS_A_PIXEL = 2514.5e9 / 512**2
PARAMETERS = 83_653_863
# Peak of live tensors in the encoder without gradients, counted on tensors without data; the same for 1 and 8 pictures.
ENCODE_VALUES_A_PIXEL = 640


def encode_flops(inference: InferenceConfig, pictures: int) -> float:
    """0 where the codec has no network."""
    return ENCODE_FLOPS_A_PIXEL * inference.size_px**2 * pictures if inference.codec.kind == "vae" else 0.0


def decode_flops(inference: InferenceConfig, pictures: int) -> float:
    """As `encode_flops`."""
    return DECODE_FLOPS_A_PIXEL * inference.size_px**2 * pictures if inference.codec.kind == "vae" else 0.0


def encode_bytes(size_px: int, pictures: int, bytes_a_value: int) -> int:
    """What encoding so many pictures together holds at its peak, weights aside."""
    return ENCODE_VALUES_A_PIXEL * bytes_a_value * size_px**2 * pictures
