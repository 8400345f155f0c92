"""`MegActorSigmaPipeline`: portrait, driver and sound become frames. The name loads diffusers and torch on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.pipeline.pipeline import AnimationOutput, MegActorSigmaPipeline

__all__ = ["AnimationOutput", "MegActorSigmaPipeline"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from inference.pipeline import pipeline

    return getattr(pipeline, name)
