"""Reading tensors from files that others made: safetensors, or `.pth` without running what a pickle may hold."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import torch

from manifests import UserError
from manifests.json_text import parse_json

INDEX_NAME = "diffusion_pytorch_model.safetensors.index.json"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


class WeightsFileError(UserError):
    """A weights file that is absent, damaged or of a kind that is not read."""


def load_tensors(path: str | Path, average: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of a `.safetensors` or `.pth`/`.pt`/`.ckpt`/`.bin` file, of a diffusers model folder (whole or sharded) or of a diffusers
    pipeline folder (its `transformer/`). On the CPU, in the dtypes of the file.

    Args:
        average: of a training checkpoint (.pth of PixArt-α, whose keys these are) the running average `state_dict_ema`, not `state_dict`.

    Raises:
        WeightsFileError: nothing there, damaged, or no average where one is asked for.
    """
    path = Path(path)
    try:
        path.lstat()
    except (OSError, ValueError) as error:  # a name that no file can have, too
        raise WeightsFileError(f"no weights at {str(path)[:300]!r}: {getattr(error, 'strerror', None) or error}") from None
    if path.is_dir():
        if (path / "transformer").is_dir():
            path = path / "transformer"
        if (path / INDEX_NAME).is_file():
            return _load_shards(path)
        path = path / WEIGHTS_NAME
    if not path.is_file():
        raise WeightsFileError(f"no weights at {path}")
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        return _load_pickled(path, average)
    if average:
        raise WeightsFileError(f"{path} holds one set of weights and no average beside it: leave out pixart_average")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    raise WeightsFileError(f"{path.name} is neither .safetensors nor .pth; convert it first")


def require_weights_of(folder: Path, least: int) -> None:
    """Looks at the heads of a folder's safetensors files before a model is built for them. What cannot be read is left to the loader.

    Args:
        least: how many numbers the weights of the model hold at least.

    Raises:
        WeightsFileError: an index that names no files of the folder; weights that are no floating point numbers, which loaders would
            convert without a word; far fewer than the model has.
    """
    from safetensors import SafetensorError, safe_open

    if (folder / INDEX_NAME).is_file():
        _shards(folder)
    n_numbers = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  not a mapping
                kinds = {name: weights.get_dtype() for name, weights in slices.items()}
                n_numbers += sum(math.prod(weights.get_shape()) for weights in slices.values())
        except (SafetensorError, OSError):
            return
        odd = next((name for name, kind in kinds.items() if not kind.startswith(("F", "BF"))), None)
        if odd is not None:
            raise WeightsFileError(f"{path}: {odd} is of type {kinds[odd]}; weights are floating point numbers: another model's file?")
    if 0 < n_numbers < least:
        raise WeightsFileError(f"{folder}: its config.json asks for {least:,} weights or more, its files hold {n_numbers:,}")


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsFileError(f"{path} is damaged or not a safetensors file: {error}") from error


def _shards(folder: Path) -> dict[str, str]:
    """The index: which file of the folder holds a tensor."""
    try:
        weight_map = parse_json((folder / INDEX_NAME).read_text(encoding="utf-8"))["weight_map"]
        names = list(weight_map.values())
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsFileError(f"{folder / INDEX_NAME} is not an index of shards") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise WeightsFileError(f"{folder / INDEX_NAME} names {name!r}, which is not a file of that folder")
    return weight_map


def _load_shards(folder: Path) -> dict[str, torch.Tensor]:
    weight_map = _shards(folder)
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(set(weight_map.values())):
        tensors |= _load_safetensors(folder / name)
    if tensors.keys() != weight_map.keys():
        raise WeightsFileError(f"the shards in {folder} do not hold the tensors that their index names")
    return tensors


def _load_pickled(path: Path, average: bool) -> dict[str, torch.Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsFileError(f"{path} is damaged or holds more than tensors, and is not read: {reason}") from error
    if average and not (isinstance(loaded, dict) and isinstance(loaded.get("state_dict_ema"), dict)):
        raise WeightsFileError(f"{path} holds no averaged weights (state_dict_ema): leave out pixart_average")
    key = "state_dict_ema" if average else "state_dict"
    if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
        loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsFileError(f"{path} holds no table of tensors")
    return loaded
