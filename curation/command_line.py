"""What the command lines of curation, training and inference share beyond `manifests.command_line`."""

from __future__ import annotations

import click

from curation.errors import ClipError
from curation.threads import spin_briefly
from manifests import command_line
from manifests.command_line import INTERRUPTED, MISTAKE, FiniteRange, LocalPath, fail, say
from manifests.errors import UserError

__all__ = ["EXTRA_OF", "INTERRUPTED", "MISTAKE", "FiniteRange", "LocalPath", "fail", "run_command", "say"]

# The extra of pyproject.toml that brings what a plain installation lacks, by the name that is imported.
EXTRA_OF = {
    "PIL": "train", "accelerate": "train", "diffusers": "train", "huggingface_hub": "train", "onnx": "train", "tensorboard": "train",
    "torch": "train", "torchvision": "train", "transformers": "train",
    "cdfvd": "eval", "lpips": "eval", "onnxruntime": "cpu", "scipy": "eval", "torch_fidelity": "eval",
    "gradio": "app",
    "numba": "people",
    "s3fs": "s3",
}  # fmt: skip


def run_command(command: click.Command, program: str, arguments: list[str] | None, on_interrupt: str) -> None:
    """As `manifests.command_line.run_command`; clips that cannot be read and packages that are not installed are a line too."""
    spin_briefly()
    try:
        command_line.run_command(command, program, arguments, on_interrupt, mistakes=(UserError, ClipError))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF:
            raise
        fail(f"this needs {missing}: pip install 'megactor-sigma-open[{EXTRA_OF[missing]}]' (in a checkout: make setup-train)")
