"""The model card that goes with a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from inference.models.config import ModelConfig


def write_model_card(folder: Path, sizes: ModelConfig, counts: Mapping[str, int], dtype: str) -> None:
    """README.md: what the weights are, their parameters by part (`counts`), and the sizes to build them with."""
    rows = "\n".join(f"| {part} | {count:,} |" for part, count in counts.items() if count)
    size_rows = "\n".join(f"| {name} | {value} |" for name, value in asdict(sizes).items())
    (folder / "README.md").write_text(
        f"""---
library_name: diffusers
license: apache-2.0
tags: [portrait-animation, diffusion, megactor-sigma]
---
# MegActor-Σ, open: stage {sizes.stage} weights

A mixed-modal diffusion transformer for portrait animation after [MegActor-Σ](https://arxiv.org/abs/2408.14975): it animates one portrait by
the eyes and mouth of a driving video, by speech, or by both. Load with
`inference.models.MegActorModel.from_pretrained(folder)`; weights are stored as {dtype}.

## Parameters
| part | parameters |
|---|---:|
{rows}
| total | {sum(counts.values()):,} |

## Sizes
| setting | value |
|---|---|
{size_rows}

## Use
The model makes people appear to do and say what they did not. Animate only faces whose owners agreed, and say that the result is synthetic.
Weights initialised from PixArt-α carry its licence as well.
""",
        encoding="utf-8",
    )
