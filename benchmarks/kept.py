"""Figures that outlive a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests import UserError
from manifests.atomic import put


class Kept:
    """Figures by name in one JSON file; what is there is not computed again."""

    def __init__(self, file: Path):
        self._file = file
        try:
            self.values: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        except ValueError as error:
            raise UserError(f"{file} is no JSON ({error}): remove it, or choose another folder by --out") from error

    def belong_to(self, about: dict[str, Any]) -> None:
        """Figures are of one model and one setting; kept as `about`.

        Raises:
            UserError: those that are there are of others.
        """
        if self.get("about", lambda: about) != about:
            changed = [f"{key} {value}" for key, value in self.values["about"].items() if about.get(key) != value]
            raise UserError(
                f"{self._file.parent} holds figures of {', '.join(changed)}: choose another folder by --out, or the same settings"
            )

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.values:
            self.values[name] = make()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            put(self._file, json.dumps(self.values, indent=1).encode())
        return self.values[name]


def digest_of_weights(folder: Path) -> str | None:
    """Of the weights in a pipeline's folder, so that figures of others are not taken for theirs; None for a model on the Hub."""
    files = sorted(folder.glob("transformer/*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12] if files else None
