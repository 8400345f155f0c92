"""Features on disk, addressed by what they were computed from: a real clip's are computed once for all methods, in all runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from manifests.atomic import atomic_path


def content_digest(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def key_of(*parts: Any) -> str:
    """A name for a list of texts, numbers, mappings and lists."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode(), digest_size=12).hexdigest()


class FeatureStore:
    """(N, D) float32 arrays as safetensors below one directory."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def path(self, metric: str, key: str) -> Path:
        return self.root / metric / f"{key}.safetensors"

    def get(self, metric: str, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The features under that key; computed and written if they are not there whole."""
        found = self.load(metric, key)
        if found is not None:
            return found
        from safetensors.numpy import save_file

        values = np.ascontiguousarray(compute(), dtype=np.float32)
        if values.ndim != 2:
            raise ValueError(f"{metric} gave features of shape {values.shape}; they need (samples, dimensions)")
        path = self.path(metric, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file({"features": values}, temporary)
        return values

    def load(self, metric: str, key: str) -> np.ndarray | None:
        """None if there are none under that key, or the file is damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.path(metric, key)
        if not path.is_file():
            return None
        try:
            return load_file(path)["features"]
        except (SafetensorError, KeyError, OSError):
            return None
