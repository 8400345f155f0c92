"""The folder that a pipeline is saved to and loaded from: the trainer writes one at each checkpoint, `animate` reads it.

transformer/     MegActorModel: config.json, safetensors, model card
scheduler/       scheduler_config.json (diffusers)
pipeline.json    codec, audio encoder, picture size and rate; the training record
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inference.models.components import InferenceConfig, TrainingRecord
from manifests import configuration
from manifests.atomic import atomic_path
from manifests.errors import UserError
from manifests.json_text import parse_json

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    from inference.models.megactor import MegActorModel

FORMAT = 1
PIPELINE_FILE = "pipeline.json"
CLASS_NAME = "MegActorSigmaPipeline"
HUB_PATTERNS = ("pipeline.json", "*/config.json", "*/*.json", "*.md", "*/*.md", "*/*.safetensors")  # of a repository on the Hub
LOCAL_FOLDERS = ("runs", "outputs", "models")  # of this project: a name below them that is not there is no owner's on the Hub


def save_pipeline(
    folder: str | Path,
    transformer: MegActorModel,
    config: InferenceConfig,
    record: TrainingRecord,
    scheduler: SchedulerMixin | None = None,
    max_shard_size: int | str = "5GB",
) -> None:
    """Writes a pipeline's folder; `pipeline.json` comes last, so a folder that has it is whole.

    Args:
        transformer: the weights (the trainer passes its average), in the dtype to store.
        config: its `model` may be of a later stage; the transformer's own sizes are written.
        scheduler: a diffusers scheduler; None is the default one (DPM-Solver++ of the training schedule).
    """
    from dataclasses import replace

    from inference.sampling.samplers import make_scheduler

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PIPELINE_FILE).unlink(missing_ok=True)
    transformer.save_pretrained(folder / "transformer", max_shard_size=max_shard_size)
    (scheduler or make_scheduler()).save_pretrained(folder / "scheduler")
    document = {
        "_class_name": CLASS_NAME,
        "format": FORMAT,
        "config": replace(config, model=transformer.sizes).to_tree(),
        "training": configuration.to_tree(record),
    }
    with atomic_path(folder / PIPELINE_FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_pipeline_file(folder: Path, overrides: Sequence[str] = ()) -> tuple[InferenceConfig, TrainingRecord]:
    """The checked content of `pipeline.json`, with dotted settings over the saved ones (`codec.path=models/vae`).

    Raises:
        UserError: no pipeline's folder, another format, an unknown or wrong setting.
    """
    file = folder / PIPELINE_FILE
    if not file.is_file():
        raise UserError(f"{folder} holds no pipeline (no {PIPELINE_FILE}); give a folder that training or save_pretrained wrote")
    try:
        document = parse_json(file.read_text(encoding="utf-8"))
        named, version = document["_class_name"], document["format"]
        config, record = {**document["config"]}, document["training"]
    except KeyError as error:
        raise UserError(f"{file} is damaged: it has no {error.args[0]!r}") from None
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{file} is damaged: {' '.join(str(error).split())[:200]}") from None
    if named != CLASS_NAME or version != FORMAT:
        raise UserError(f"{file} is of {named!r}, format {version!r}; this code reads {CLASS_NAME}, format {FORMAT}")
    for text in overrides:
        config = configuration.merged(config, configuration.parse_override(text))
    return InferenceConfig.from_tree(config), configuration.build(TrainingRecord, record)


def find_folder(name: str | Path, revision: str | None = None) -> Path:
    """The local folder; a name of the form owner/model that is no folder is looked up on the Hub.

    Raises:
        UserError: neither.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    parts = str(name).split("/")
    is_local = str(name).startswith((".", "~")) or parts[0] in LOCAL_FOLDERS or Path(parts[0]).is_dir()
    if len(parts) != 2 or not all(parts) or is_local:
        raise UserError(f"no model at {name}: give a folder that training wrote (RUN/pipeline) or the id of a repository on the Hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=list(HUB_PATTERNS)))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"{name} is neither a folder nor a repository that can be had: {' '.join(str(error).split())[:200]}") from error
