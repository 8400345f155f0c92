"""Writing a model's folder whole, with its model card."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.models.megactor import MegActorModel


class CheckpointFolderError(ValueError):
    """A path that a model must not be written to."""


@contextlib.contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Yields a folder beside `target` to fill, then puts it in `target`'s place; on an error `target` stays as it was.

    An existing folder is replaced only if it is empty or holds a model (`config.json`).
    """
    target = Path(target).absolute()
    if target.exists() and not target.is_dir():
        raise CheckpointFolderError(f"{target} is a file; a model is written to a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / "config.json").is_file():
        raise CheckpointFolderError(f"{target} holds other things than a model; choose an empty or new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder = work / "new"
        folder.mkdir()
        yield folder
        for path in folder.rglob("*"):
            _fsync(path)
        if target.exists():
            target.rename(work / "old")
        folder.rename(target)
        _fsync(target.parent)
    finally:
        if (work / "old").exists() and not target.exists():
            (work / "old").rename(target)
        shutil.rmtree(work)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_model_card(folder: Path, model: MegActorModel) -> None:
    """README.md: what the weights are, their parameters by part, and the sizes to build them with."""
    from inference.models.megactor import parts

    counts = {part: sum(p.numel() for p in parameters) for part, parameters in parts(model).items()}
    rows = "\n".join(f"| {part} | {count:,} |" for part, count in counts.items() if count)
    sizes = "\n".join(f"| {name} | {value} |" for name, value in asdict(model.sizes).items())
    (folder / "README.md").write_text(
        f"""---
library_name: diffusers
license: apache-2.0
tags: [portrait-animation, diffusion, megactor-sigma]
---
# MegActor-Σ, open: stage {model.sizes.stage} weights

A mixed-modal diffusion transformer for portrait animation after [MegActor-Σ](https://arxiv.org/abs/2408.14975): it animates one portrait by
the eyes and mouth of a driving video, by speech, or by both. Load with
`inference.models.MegActorModel.from_pretrained(folder)`; weights are stored as {str(model.dtype).removeprefix("torch.")}.

## Parameters
| part | parameters |
|---|---:|
{rows}
| total | {sum(counts.values()):,} |

## Sizes
| setting | value |
|---|---|
{sizes}

## Use
The model makes people appear to do and say what they did not. Animate only faces whose owners agreed, and say that the result is synthetic.
Weights initialised from PixArt-α carry its licence as well.
""",
        encoding="utf-8",
    )
