"""The weights that a stage starts from: random, PixArt-α, or the average of the stage before, grown by the new layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.models.components import InferenceConfig
from inference.pipeline.folder import PIPELINE_FILE, read_pipeline_file
from manifests.errors import UserError
from training.config import TrainingConfig
from training.loop.checkpoints import EMA, Checkpoints, read_state
from training.loop.run_folder import RUN_FILE, read_run
from training.loop.stages import TRAINED

if TYPE_CHECKING:
    from inference.models.config import ModelConfig
    from inference.models.megactor import MegActorModel

_STAGE_OF_SEED = 1_000_003  # spreads (seed, stage) over torch's 64-bit seeds


@dataclass(frozen=True)
class Start:
    """Where the first weights come from; plain values for `run.yaml`.

    Attributes:
        kind: random, pixart, stage (the stage before) or pipeline (saved weights of the same stage, trained on).
        source: the folder or file; None for random.
        step: of the checkpoint, where it is one.
        motion: stage 3: the file that the temporal modules start from; None: as the identity.
    """

    kind: str
    source: str | None = None
    step: int | None = None
    motion: str | None = None

    @property
    def path(self) -> Path:
        """The folder or file."""
        if self.source is None:
            raise ValueError("random weights come from no file")
        return Path(self.source)

    def text(self) -> str:
        if self.kind == "random":
            return "random weights"
        text = f"{self.source}" + (f", averaged weights of step {self.step:,}" if self.step is not None else "")
        return text + (f", and {self.motion}" if self.motion else "")


def find_start(config: TrainingConfig, init: str | None, before: str | None = None) -> Start:
    """What `init` (a run's folder, one of its checkpoints, or a pipeline's folder) or the configuration names, checked before anything is
    built.

    Args:
        before: where the run of the stage before is looked for when `init` is not given.

    Raises:
        UserError: nothing there, a run of the wrong stage, or pretrained weights that are asked for and missing.
    """
    stage = config.stage
    if init is not None and (Path(init) / PIPELINE_FILE).is_file():
        return _pipeline(init, stage)
    if stage == 1:
        if init is not None:
            raise UserError(f"stage 1 starts from PixArt-α (--set pixart=FOLDER) or at random, not from a run: leave out --init {init}")
        pixart = _pretrained(config, "pixart")
        return Start("random") if pixart is None else Start("pixart", pixart)
    if init is None and before is not None and (Path(before) / RUN_FILE).is_file():
        init = before
    if init is None:
        where = f" (looked in {before})" if before else ""
        raise UserError(f"stage {stage} continues a run of stage {stage - 1}{where}: train that first, or name it by --init RUN")
    folder = Path(init)
    checkpoint = folder if (folder / "state.json").is_file() else Checkpoints(folder).newest()
    run = folder if checkpoint is None or checkpoint != folder else checkpoint.parent.parent
    record = read_run(run)
    if record is None:
        raise UserError(f"--init {init}: no training run there (no {RUN_FILE})")
    if record["config"]["stage"] != stage - 1:
        raise UserError(
            f"--init {init} is a run of stage {record['config']['stage']}; stage {stage} starts from stage {stage - 1} "
            "(the order is 1 spatial decoupling, 2 modality decoupling, 3 motion priors)"
        )
    if checkpoint is None:
        raise UserError(f"--init {init}: that run has no checkpoint yet")
    motion = _pretrained(config, "motion") if stage == 3 else None
    return Start("stage", str(checkpoint), read_state(checkpoint).step, motion)


def _pipeline(init: str, stage: int) -> Start:
    """Raises UserError for a pipeline of another stage."""
    record = read_pipeline_file(Path(init))[1]
    if record.stage != stage:
        raise UserError(f"--init {init} is a pipeline of stage {record.stage}: train on from it with --stage {record.stage}")
    return Start("pipeline", init, record.step)


def _pretrained(config: TrainingConfig, setting: str) -> str | None:
    """The file or folder of `pixart` or `motion`; None where the configuration wants random weights.

    Raises:
        UserError: the stage starts from it and it is nowhere; no stage falls back to random weights by itself.
    """
    from curation.weights import Store

    if config.init == "random":
        return None
    value: str | None = getattr(config, setting)
    what = {"pixart": "PixArt-α at 512 px", "motion": "EasyAnimate-V1's motion modules"}[setting]
    ways = (
        f"`make models PROFILE=paper` gets it; --set {setting}=PATH names a file or folder; --set init=random starts without, which takes "
        "far more steps than the paper's 30,000 (docs/training.md)"
    )
    if value is None:
        raise UserError(f"stage {config.stage} starts from {what}, and {setting} is not set: {ways}")
    store = Store.standard()
    if value in store.table:
        if store.locate(value) is None:
            raise UserError(f"stage {config.stage} starts from {what}, and {value} is not in the models store: {ways}")
        return str(store.find(value))
    if not Path(value).exists():
        raise UserError(f"{setting}: there is no {value}: {ways}")
    return value


def fresh_parts(stage: int, start: Start) -> frozenset[str]:
    """The trained parts of the model (`inference.models.megactor.parts`) that start at random, or as the identity."""
    if start.kind == "pipeline":
        return frozenset()
    if stage == 1:
        return frozenset({"driven encoder"}) if start.kind == "pixart" else frozenset(TRAINED[1])
    if stage == 2:
        return frozenset({"audio attention"})
    return frozenset() if start.motion else frozenset({"temporal modules"})


def build_model(config: TrainingConfig, inference: InferenceConfig, start: Start) -> MegActorModel:
    """The model of the stage with its first weights, float32 on the CPU; the same for the same seed.

    Raises:
        UserError: weights that do not fit the configuration.
    """
    import torch

    from inference.models import MegActorModel, grow, initialise_from_pixart, load_motion_weights, load_tensors
    from inference.models.megactor import CheckpointError

    sizes = inference.model.at_stage(config.stage)
    with torch.random.fork_rng(devices=[]):  # the random layers do not depend on, and do not disturb, anybody's generator
        torch.manual_seed(config.seed * _STAGE_OF_SEED + config.stage)
        try:
            if start.kind == "stage":
                model = MegActorModel.from_pretrained(start.path / EMA, torch_dtype=torch.float32, local_files_only=True)
                if model.sizes != sizes.at_stage(config.stage - 1):
                    raise UserError(f"{start.source} was trained with other sizes: {_different(model.sizes, sizes, config.stage - 1)}")
                model = grow(model, config.stage)
            elif start.kind == "pipeline":
                model = MegActorModel.from_pretrained(start.path / "transformer", torch_dtype=torch.float32, local_files_only=True)
                if model.sizes != sizes:
                    raise UserError(f"{start.source} was trained with other sizes: {_different(model.sizes, sizes, config.stage)}")
            else:
                model = MegActorModel.from_sizes(sizes)
                if start.kind == "pixart":
                    initialise_from_pixart(model, load_tensors(start.path, average=config.pixart_average))
            if start.motion:
                load_motion_weights(model, load_tensors(start.motion))
        except (CheckpointError, OSError, json.JSONDecodeError) as error:
            raise UserError(f"cannot read the weights of {start.text()}: {' '.join(str(error).split())[:300]}") from error
    return model.train()


def _different(old: ModelConfig, new: ModelConfig, stage: int) -> str:
    from dataclasses import asdict

    before, after = asdict(old), asdict(new.at_stage(stage))
    return ", ".join(f"{name} {before[name]} → {after[name]}" for name in before if before[name] != after[name])
