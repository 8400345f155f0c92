"""Finds the parts that live one a module in a package: sources, scorers. Adding one is adding a file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import TypeVar

from curation.contracts import Named

T = TypeVar("T", bound=Named)


@cache
def parts(package: str, base: type[T]) -> dict[str, type[T]]:
    """Every concrete sub-class of `base` that a module of `package` defines, by its `name`."""
    root: ModuleType = importlib.import_module(package)
    found: dict[str, type[T]] = {}
    for info in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, base) and cls.__module__ == module.__name__ and not inspect.isabstract(cls):
                if cls.name in found:
                    raise TypeError(f"{cls.__module__} and {found[cls.name].__module__} both define the name {cls.name!r}")
                found[cls.name] = cls
    return found
