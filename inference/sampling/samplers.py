"""Samplers: diffusers' schedulers on the schedule that the model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifests.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

# name -> class in diffusers, settings beyond the schedule's
SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 2}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "ancestral": ("DDPMScheduler", {"variance_type": "learned_range", "clip_sample": False}),
}


def make_scheduler(name: str = "dpmsolver++") -> SchedulerMixin:
    """A scheduler of `SCHEDULE`: dpmsolver++ (default), unipc, ddim, euler, or ancestral (IDDPM, the model's own variance)."""
    import diffusers

    from inference.models.schedule import SCHEDULE

    if name not in SAMPLERS:
        raise UserError(f"unknown sampler {name!r}{did_you_mean(name, sorted(SAMPLERS))}")
    class_name, settings = SAMPLERS[name]
    return getattr(diffusers, class_name)(**SCHEDULE.scheduler_config(), **settings)
