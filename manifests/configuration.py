"""Typed configuration: frozen dataclasses filled from YAML and dotted overrides; an unknown key is an error that suggests the nearest."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from manifests.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # 1e-4 is a text in YAML 1.1, which wants 1.0e-4


def load(cls: type[T], files: Sequence[Path | str] = (), overrides: Sequence[str] = ()) -> T:
    """Read `cls` from YAML files, later ones winning, then `a.b=value` overrides (values are YAML).

    Raises:
        UserError: unknown key, wrong type, unreadable file; one line.
    """
    tree: dict[str, Any] = {}
    for file in files:
        tree = merged(tree, read_yaml(Path(file)))
    for text in overrides:
        tree = merged(tree, parse_override(text))
    return build(cls, tree)


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold a mapping of keys at its top level")
    return tree


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A new tree: `over` wins, mappings are merged key by key."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def build(cls: type[T], tree: Mapping[str, Any], at: str = "") -> T:
    """An instance of the dataclass `cls` from a tree of plain values; every key and type is checked.

    A class variable `RENAMED` maps keys of the past to what a person should write now.
    """
    if not isinstance(tree, Mapping):
        raise UserError(f"{at or 'the configuration'} needs a mapping of keys, not {tree!r}")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    for key in tree:
        if key not in names:
            renamed = getattr(cls, "RENAMED", {}).get(key)
            hint = f"; it is now {renamed}" if renamed else did_you_mean(str(key), names)
            raise UserError(f"unknown configuration key {_join(at, key)!r}{hint}")
    for field in dataclasses.fields(cls):
        if field.init and field.default is field.default_factory is dataclasses.MISSING and field.name not in tree:
            raise UserError(f"{at or cls.__name__} lacks {field.name!r}")
    values = {name: _convert(hints[name], tree[name], _join(at, name)) for name in names if name in tree}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{at or cls.__name__}: {error}") from None


def to_tree(config: Any) -> Any:
    """The plain values of a configuration, as YAML and JSON can hold them."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_tree(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Mapping):
        return {str(key): to_tree(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_tree(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    return config


def parse_override(text: str) -> dict[str, Any]:
    """The tree that `a.b=value` stands for; the value is read as YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set needs key=value, not {text!r}")
    try:
        tree: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        tree = value
    for part in reversed(path.strip().split(".")):
        tree = {part: tree}
    return tree


def _convert(kind: Any, value: Any, at: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, at)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return build(kind, value or {}, at)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{at} needs a list, not {value!r}")
        return tuple(_convert(args[0], item, f"{at}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{at} needs a mapping of keys, not {value!r}")
        return {str(key): _convert(args[1], item, _join(at, key)) for key, item in value.items()}
    if kind is Any:
        return value
    if origin is typing.Literal:
        if value not in args:
            raise UserError(f"{at} is {value!r}; it must be one of {', '.join(map(str, args))}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UserError(f"{at} is too large a number") from None
    if kind is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise UserError(f"{at} needs {kind.__name__}, not {value!r}")


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)
