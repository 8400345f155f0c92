"""What each stage trains. Parameters are chosen by the part of the model that they belong to, never by pieces of their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.models.megactor import MegActorModel

NAMES = {1: "spatial decoupling", 2: "modality decoupling", 3: "motion priors"}
TRAINED = {
    1: ("denoising transformer", "reference transformer", "driven encoder"),
    2: ("denoising transformer", "reference transformer", "driven encoder", "audio attention"),
    3: ("temporal modules",),
}


@dataclass(frozen=True)
class PartRow:
    """One line of the table of parts."""

    part: str
    parameters: int
    trained: bool


def choose_trainable(model: MegActorModel, stage: int) -> list[PartRow]:
    """Sets `requires_grad` of every parameter for the stage; returns what was chosen, part by part."""
    from inference.models.megactor import parts

    rows = []
    for part, tensors in parts(model).items():
        trained = part in TRAINED[stage]
        for tensor in tensors:
            tensor.requires_grad_(trained)
        if tensors:
            rows.append(PartRow(part, sum(tensor.numel() for tensor in tensors), trained))
    missing = set(TRAINED[stage]) - {row.part for row in rows}
    if missing:
        raise ValueError(f"stage {stage} trains {', '.join(sorted(missing))}, which this model (stage {model.sizes.stage}) does not have")
    return rows


def table(rows: list[PartRow]) -> str:
    """The table that is printed before training starts."""
    lines = [(row.part, f"{row.parameters:,}", "trained" if row.trained else "frozen") for row in rows]
    total, trained = sum(row.parameters for row in rows), sum(row.parameters for row in rows if row.trained)
    lines.append(("total", f"{total:,}", f"{trained:,} trained"))
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    return "\n".join(f"  {name:<{widths[0]}}  {count:>{widths[1]}}  {what}" for name, count, what in lines)
