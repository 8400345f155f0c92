"""The rows of the ablations: what of the paper's recipe each leaves out or changes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from training.data.modality import ModalityConfig

# The paper's: a third of eyes, mouth and both; 10, 20 and 70 % of the modalities. A row sets what is different.
PAPER = {
    "eyes_share": 0.3333333, "mouth_share": 0.3333333, "both_share": 0.3333334,
    "visual_share": 0.1, "audio_share": 0.2, "mixed_share": 0.7,
}  # fmt: skip
NO_DROPOUT = {"eyes_share": 0.0, "mouth_share": 0.0, "both_share": 1.0}
NO_MASKS: dict[str, object] = {"masked_stages": []}
MOSTLY_EYES = {"eyes_share": 0.8, "mouth_share": 0.0, "both_share": 0.2}
VIDEO = {"visual_share": 1.0, "audio_share": 0.0, "mixed_share": 0.0}
_SMALL = ("model.num_layers=4", "model.num_attention_heads=4", "model.temporal_heads=4", "model.first_reference_block=1")
SIZES = {
    "embedded": (),
    "coarse": ("model.num_layers=4", "model.patch_size=4", "model.first_reference_block=1"),  # 4 x 4 tokens
    "small": _SMALL,
    "narrow": (
        "model.num_layers=3",
        "model.num_attention_heads=3",
        "model.temporal_heads=3",
        "model.first_reference_block=1",
    ),  # 8 x 8 tokens
    "64px": (*_SMALL, "size_px=64", "model.sample_size=8"),  # 4 x 4 tokens, too few for Eq. 2: all lie in the driven encoder's reach
}
"""Settings of the model that all recipes share, by name."""
START = "start"
"""The row of the weights that all continue, before they do."""


@dataclass(frozen=True)
class Recipe:
    """
    Attributes:
        modality: of `training.data.modality.ModalityConfig`, over `PAPER`.
        others: dotted settings of the training.
        inference: dotted settings of the model and of how it is shown people.
        against: the first of these rows that was measured is what its differences are from.
        rerendered: the driver of every sample is another person with the target's motion (`training.offline.rerender`).
    """

    what: str
    modality: dict[str, object]
    others: tuple[str, ...] = ()
    inference: tuple[str, ...] = ()
    against: tuple[str, ...] = ("full",)
    rerendered: bool = False

    @property
    def other_model(self) -> bool:
        """The model itself is another: it cannot continue given weights."""
        return any(setting.startswith("model.") for setting in self.inference)

    @property
    def attention_masked(self) -> bool:
        """Some samples get Eq. 2's mask."""
        modality = ModalityConfig(**(PAPER | self.modality))  # type: ignore[arg-type]
        drops = modality.both_share < 1 and modality.mask_visual_attention
        return bool(modality.masked_stages) and (drops or modality.mask_mixed_attention)

    @property
    def hears(self) -> bool:
        """Some samples have sound: stage 1 cannot train it."""
        return (PAPER | self.modality)["visual_share"] != 1

    def overrides(self, inference: tuple[str, ...] = (), stage: int = 2) -> tuple[str, ...]:
        """Dotted settings of a stage; `inference` are those of the model that all recipes share."""
        modality = PAPER | self.modality
        if stage == 1:  # shows video alone, whatever comes after it
            modality = {name: value for name, value in modality.items() if not name.startswith("mask_mixed")} | VIDEO
        shown = ", ".join(("most_steps=2", *inference, *self.inference))
        lines = [f"data.modality.{name}={json.dumps(value)}" for name, value in modality.items()]
        return (*lines, f"inference_overrides=[{shown}]", *self.others)


RECIPES = {
    # Of stage 1, or of stage 1 and a stage 2 of video alone.
    "video": Recipe("video alone, as in stage 1, with all cures", VIDEO),
    "video-no-masks": Recipe(
        "video alone, without Eq. 2 and the masked loss", VIDEO | NO_MASKS, against=("video", "video-no-eq2")
    ),
    "video-no-eq2": Recipe("video alone, without Eq. 2; masked loss kept", VIDEO | {"mask_visual_attention": False}, against=("video",)),
    "video-no-loss-mask": Recipe(
        "video alone, without the masked loss; Eq. 2 kept", VIDEO | {"mask_visual_loss": False},
        against=("video",),
    ),
    "video-no-dropout": Recipe("video alone, without face dropout: eyes and mouth always together", VIDEO | NO_DROPOUT, against=("video",)),
    "video-rerendered": Recipe(
        "video alone, with all cures, driven by other people with the same motion", VIDEO, ("data.variant_share=1",),
        against=("video",), rerendered=True,
    ),
    "eyes": Recipe("video alone, the eyes alone in four samples of five, with all cures", VIDEO | MOSTLY_EYES),
    "eyes-no-masks": Recipe(
        "video alone, the eyes alone in four samples of five, without Eq. 2 and the masked loss", VIDEO | MOSTLY_EYES | NO_MASKS,
        against=("eyes",),
    ),
    # Of all modalities.
    "full": Recipe("the paper's recipe: face dropout, Eq. 2, masked loss, 10/20/70", {}),
    "no-cures": Recipe("without face dropout, Eq. 2 and the masked loss", NO_DROPOUT | NO_MASKS),
    "no-dropout": Recipe("without face dropout: video shows eyes and mouth together", NO_DROPOUT),
    "no-masks": Recipe("without Eq. 2 and the masked loss", NO_MASKS),
    "no-eq2": Recipe("without Eq. 2; masked loss kept", {"mask_visual_attention": False}),
    "no-loss-mask": Recipe("without the masked loss; Eq. 2 kept", {"mask_visual_loss": False}),
    "mixed-attention": Recipe(
        "Eq. 2 in the attention of mixed samples too, their mouth still in the loss", {"mask_mixed_attention": True}
    ),
    "all-paths": Recipe(
        "mixed samples masked as in mixed-attention, and the eyes hidden from all that the mouth may read, not one hop",
        {"mask_mixed_attention": True, "mask_paths": "all"},
    ),
    "33-33-33": Recipe("a third of each modality", {"visual_share": 0.3333333, "audio_share": 0.3333333, "mixed_share": 0.3333334}),
    "80-10-10": Recipe("80 % video", {"visual_share": 0.8, "audio_share": 0.1, "mixed_share": 0.1}),
    "rerendered": Recipe(
        "drivers are other people with the same motion, a perfect face swap", {}, ("data.variant_share=1",), rerendered=True
    ),
    "tight-patches": Recipe("patches are the box of each frame", {}, inference=("patch_rule=frame",)),
    "audio-norm": Recipe("normalised sound", {}, inference=("model.audio_norm=true",)),
}  # fmt: skip


def first_stage(name: str) -> str:
    """The first recipe whose stage 1 is the same: rows share it."""
    recipe = RECIPES[name]
    same = (other for other in RECIPES if RECIPES[other].rerendered == recipe.rerendered)
    return next(other for other in same if RECIPES[other].overrides(stage=1) == recipe.overrides(stage=1))
