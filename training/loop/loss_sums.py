"""Sums of the loss by quartile of the timestep and by modality, kept on the device until a record is due."""

from __future__ import annotations

import torch

from inference.models.schedule import SCHEDULE
from training.data.modality import MODALITIES
from training.loop.loss import LossTerms

QUARTILES = 4
_SIMPLE, _BOUND, _COUNT = range(3)


class LossLedger:
    """Adding costs no synchronisation; `read` makes one, and sums over ranks. Samples whose loss is not finite are left out."""

    def __init__(self, device: torch.device):
        self._sums = torch.zeros(QUARTILES, len(MODALITIES), 3, dtype=torch.float64, device=device)

    def add(self, terms: LossTerms, timesteps: torch.Tensor, modality: torch.Tensor) -> None:
        quartile = timesteps * QUARTILES // SCHEDULE.num_steps
        values = torch.stack([terms.simple, terms.bound, torch.ones_like(terms.simple)], dim=1).to(self._sums)
        values = values * torch.isfinite(values).all(1, keepdim=True)
        values = torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        self._sums.index_put_((quartile, modality.long()), values, accumulate=True)

    def read(self) -> dict[str, float]:
        """Means since the last call by name, and starts again; groups without a sample are left out. All ranks must call it."""
        sums = self._sums
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        table = sums.cpu().clone()
        self._sums.zero_()
        found = {"loss": float("nan")}
        groups = {"": table.sum((0, 1))}
        groups |= {f"_t_q{q + 1}": table[q].sum(0) for q in range(QUARTILES)}
        groups |= {f"_{name}": table[:, m].sum(0) for m, name in enumerate(MODALITIES)}
        for name, group in groups.items():
            if group[_COUNT]:
                found[f"loss_simple{name}"] = float(group[_SIMPLE] / group[_COUNT])
                found[f"loss_bound{name}"] = float(group[_BOUND] / group[_COUNT])
        if "loss_simple" in found:
            found["loss"] = found["loss_simple"] + found["loss_bound"]
        return found
