"""Presets: named lists of rules over the columns of a manifest, read from YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from manifests.config_files import config_file
from manifests.configuration import build, read_yaml
from manifests.errors import UserError, did_you_mean

PRESETS_FILE = config_file("curation", "presets.yaml")
MAX_RULES = 36  # the verdict on a row is one int64 with a base-3 digit a rule

Op = Literal[">", ">=", "<", "<=", "==", "!=", "in", "is_true"]
_ORDERED = (">", ">=", "<", "<=")
OPS: tuple[str, ...] = (*_ORDERED, "==", "!=", "in", "is_true")


@dataclass(frozen=True)
class Rule:
    """One condition that an accepted clip meets.

    Attributes:
        reason: what a clip that fails it says; short and stable.
        column: the manifest column it looks at.
        op: comparison with `value`; `in` takes a list, `is_true` nothing.
        abs: compare the absolute value.
        missing: what a null does: `reject` (reason `<reason>:missing`) or `ignore`.
    """

    reason: str
    column: str
    op: Op
    value: Any = None
    abs: bool = False
    missing: Literal["reject", "ignore"] = "reject"

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason or set(self.reason) & set(": ,"):
            raise UserError(f"reason {self.reason!r} must be a word without colon, comma or space")
        if not isinstance(self.column, str) or not self.column:
            raise UserError(f"rule {self.reason}: column must be a name, not {self.column!r}")
        if self.op not in OPS:
            raise UserError(f"rule {self.reason}: unknown op {self.op!r}; one of {' '.join(OPS)}")
        if self.missing not in ("reject", "ignore"):
            raise UserError(f"rule {self.reason}: missing must be reject or ignore, not {self.missing!r}")
        if not isinstance(self.abs, bool):
            raise UserError(f"rule {self.reason}: abs must be true or false, not {self.abs!r}")
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if (self.op in _ORDERED or self.abs) and (not is_number or self.value != self.value):
            raise UserError(f"rule {self.reason}: {self.column} {self.op} needs a number, not {self.value!r}")
        if self.op in ("==", "!=") and not is_number and not isinstance(self.value, str):
            raise UserError(f"rule {self.reason}: {self.column} {self.op} needs a number or a text, not {self.value!r}")
        if self.op == "in" and not (isinstance(self.value, list | tuple) and self.value and not self.abs):
            raise UserError(f"rule {self.reason}: in needs a list of values and no abs")
        if self.op == "is_true" and self.value is not None:
            raise UserError(f"rule {self.reason}: is_true takes no value")
        if isinstance(self.value, list):
            object.__setattr__(self, "value", tuple(self.value))

    @property
    def text(self) -> str:
        """As a person writes it: `|lipsync_offset_frames| <= 3`."""
        name = f"|{self.column}|" if self.abs else self.column
        if self.op == "is_true":
            return name
        return f"{name} {self.op} {list(self.value) if isinstance(self.value, tuple) else self.value}"


@dataclass(frozen=True)
class Preset:
    """A named filter: a clip is accepted if every rule holds.

    Attributes:
        source: who published the thresholds, and where.
        note: what of the publication the columns cannot express.
    """

    name: str
    description: str
    source: str
    rules: tuple[Rule, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.rules or len(self.rules) > MAX_RULES:
            raise UserError(f"preset {self.name}: needs 1 to {MAX_RULES} rules, has {len(self.rules)}")

    def with_thresholds(self, thresholds: Mapping[str, Any]) -> Preset:
        """The same rules with other values: reason -> value.

        Raises:
            UserError: no rule gives that reason, or the value does not suit it.
        """
        reasons = {rule.reason for rule in self.rules}
        for reason in thresholds:
            if reason not in reasons:
                raise UserError(f"preset {self.name} has no rule {reason!r}{did_you_mean(reason, reasons)}")
        rules = (replace(rule, value=thresholds[rule.reason]) if rule.reason in thresholds else rule for rule in self.rules)
        return replace(self, rules=tuple(rules))


def load_presets(presets_file: str | os.PathLike | None = None) -> dict[str, Preset]:
    """All presets by name: those of the project, and those of `presets_file`, which may replace the former.

    Raises:
        UserError: a file that cannot be read or does not say what a preset needs.
    """
    found = _read(PRESETS_FILE)
    if presets_file is not None:
        found |= _read(Path(presets_file))
    return found


def preset(name: str, presets_file: str | os.PathLike | None = None) -> Preset:
    """One preset by name.

    Raises:
        UserError: unknown name; the message suggests the nearest.
    """
    known = load_presets(presets_file)
    if name not in known:
        raise UserError(f"unknown preset {name!r}{did_you_mean(name, known)}")
    return known[name]


def _read(file: Path) -> dict[str, Preset]:
    presets = {}
    for name, body in read_yaml(file).items():
        tree = {"description": "", "source": "", **body, "name": str(name)} if isinstance(body, Mapping) else body
        try:
            presets[str(name)] = build(Preset, tree, f"preset {name}")
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
    return presets
