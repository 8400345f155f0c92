"""Figures that outlive a kill."""

from __future__ import annotations

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

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.values:
            self.values[name] = make()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            put(self._file, json.dumps(self.values, indent=1).encode())
        return self.values[name]
