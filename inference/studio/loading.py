"""Getting a pipeline ready to run: which model, on which device, in which precision, how placed in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.models.components import PACKAGED, InferenceConfig, TrainingRecord, load_inference_config
from inference.pipeline.folder import PIPELINE_FILE, find_folder, read_pipeline_file
from manifests.errors import UserError

if TYPE_CHECKING:
    from inference.pipeline import MegActorSigmaPipeline

TRAINED = tuple(Path("runs") / f"s{stage}" / "pipeline" for stage in (3, 2, 1))  # where `make train` leaves its models, best first
PACKAGED_MODEL = PACKAGED / "embedded"  # docs/weights.md
OFFLOADS = ("none", "vae", "model")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class LoadOptions:
    """
    Attributes:
        model: a pipeline's folder, a run's folder, or the id of a repository on the Hub; None is the last stage that `make train` finished
            here, and before that the model that comes with the package.
        device: auto (cuda if there is one), cpu, cuda, cuda:1, mps.
        dtype: auto is bfloat16 on a GPU and float32 elsewhere.
        compile: `torch.compile` on every block: slow to start, faster a frame; for long videos and batches.
        offload: none; vae: the VAE is on the device only while it works; model: VAE and transformer take turns there.
        overrides: dotted settings over the saved ones (`codec.path=models/vae`).
    """

    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    offload: str = "none"
    overrides: tuple[str, ...] = ()


def find_model(model: str | None) -> str:
    """The folder or repository to load: the one that is given, else what was trained here, else what comes with the package.

    Raises:
        UserError: none is given, nothing has been trained here, and the package was installed without its weights.
    """
    if model is not None:
        return str(Path(model) / "pipeline") if (Path(model) / "pipeline" / PIPELINE_FILE).is_file() else model
    for folder in TRAINED:
        if (folder / PIPELINE_FILE).is_file():
            return str(folder)
    if (PACKAGED_MODEL / PIPELINE_FILE).is_file():
        return str(PACKAGED_MODEL)
    raise UserError(
        "no model: `make train` trains the small one on this machine (runs/s1 … s3), or give one by --model (a run's folder or a Hub id)"
    )


def files_of(model: str | None) -> list[Path]:
    """The files of the model that `load` would take, where it is a folder on this machine; none where there is no model."""
    try:
        folder = Path(find_model(model))
    except UserError:
        return []
    return [file for file in sorted(folder.rglob("*")) if file.is_file()] if (folder / PIPELINE_FILE).is_file() else []


def settings_of(options: LoadOptions) -> InferenceConfig:
    """The settings of the model that `load` would take, without its weights; the embedded profile's while nothing has been trained here.

    Raises:
        UserError: no such model, or a setting that it does not know.
    """
    try:
        name = find_model(options.model)
    except UserError:
        return load_inference_config("embedded", options.overrides)
    return read_pipeline_file(find_folder(name), options.overrides)[0]


def line_of(options: LoadOptions) -> str:
    """One line about the model that `load` would take: what it is and what it was trained on; "no model" before anything can be loaded."""
    try:
        name = find_model(options.model)
        return model_line(name, read_pipeline_file(find_folder(name))[1])
    except UserError:
        return "no model"


def load(options: LoadOptions, say: Callable[[str], None] = lambda line: None) -> MegActorSigmaPipeline:
    """A pipeline on its device.

    Raises:
        UserError: one line that says what to do.
    """
    import torch

    from inference.pipeline import MegActorSigmaPipeline

    if options.offload not in OFFLOADS:
        raise UserError(f"offload is {options.offload!r}; it must be one of {', '.join(OFFLOADS)}")
    name, device = find_model(options.model), choose_device(options.device)
    dtype = _dtype(options.dtype, device)
    pipe = MegActorSigmaPipeline.from_pretrained(name, torch_dtype=dtype, overrides=options.overrides)
    if options.offload == "none":
        pipe = pipe.to(device)
    else:
        pipe.enable_offload(options.offload, device)
    if options.compile:
        pipe.transformer.compile_repeated_blocks(fullgraph=True)
    record = pipe.record
    say(
        f"{model_line(name, record)}, {pipe.settings.size_px} px; {device}"
        + (f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else "")
        + f", {str(dtype).removeprefix('torch.')}"
    )
    return pipe


def push(model: str | None, repository: str, message: str | None = None, private: bool | None = None) -> str:
    """Uploads the files of a model as they are to `repository` (owner/name) on the Hub; the commit's address.

    Raises:
        UserError: see `find_model` and `inference.pipeline.hub.push_folder`.
    """
    from inference.pipeline.hub import push_folder

    return push_folder(find_folder(find_model(model)), repository, message, private)


def model_line(name: str, record: TrainingRecord) -> str:
    """What is loaded and what it was trained on."""
    called = "the model that comes with the package" if Path(name) == PACKAGED_MODEL else f"model {name}"
    learnt = f" on {record.trained_on}" if record.trained_on else ""
    return f"{called}: stage {record.stage}, {record.step:,} steps{learnt}"


def choose_device(name: str) -> Any:
    """Raises UserError where the device that is asked for is not there: nothing falls back in silence."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device is {name!r}; it must be auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"no device {name}: torch sees {torch.cuda.device_count()} CUDA devices; --device cpu is slow but works")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("no device mps on this machine; --device cpu is slow but works")
    return device


def _dtype(name: str, device: Any) -> Any:
    import torch

    if name not in DTYPES:
        raise UserError(f"dtype is {name!r}; it must be one of {', '.join(DTYPES)}")
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)
