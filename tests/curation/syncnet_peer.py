"""The independent implementation: the `syncnet-python` package, run for real.

Its parts are loaded one by one, as its scripts do, because the package as a whole wants an older PySceneDetect than this project.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import wavfile


def package() -> Path:
    """Where the package lies; skips the test where it is not installed."""
    spec = importlib.util.find_spec("syncnet_python")
    if spec is None:
        pytest.skip("syncnet-python is not installed: pip install --no-deps -r requirements-nodeps.txt")
    return Path(spec.submodule_search_locations[0])


def module(name: str) -> types.ModuleType:
    """A module of the package, such as `SyncNetModel` or `detectors/s3fd`."""
    path = package() / name
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    full_name = "syncnet_peer_" + name.replace("/", "_")
    if full_name not in sys.modules:
        places = [str(path.parent)] if path.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(full_name, path, submodule_search_locations=places)
        sys.modules[full_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full_name])
    return sys.modules[full_name]


def evaluate(state: dict, folder: Path) -> tuple[int, float, float]:
    """Offset, Sync-C and Sync-D by `SyncNetInstance.evaluate` of the crops and the sound in `folder`."""
    net = module("SyncNetModel").S()
    net.load_state_dict(state)
    instance = module("SyncNetInstance").SyncNetInstance(net, device="cpu")
    return instance.evaluate(types.SimpleNamespace(tmp_dir=str(folder), batch_size=20, vshift=15))


def write_crops(folder: Path, crops: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """Lay crops (T, 224, 224, 3) BGR and sound out as the package reads them; returns the crops as it will see them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, crop in enumerate(crops):
        cv2.imwrite(str(folder / f"{i + 1:06d}.jpg"), crop)
    wavfile.write(folder / "audio.wav", 16000, audio)
    return np.stack([cv2.imread(str(file)) for file in sorted(folder.glob("*.jpg"))])
