"""The way of a request through the files of an animation, as the program goes it: where the request, a part of it, a single setting of
it or the path of one of its sources is handed to a function.

A stay is a run of such calls into one file; a return is a stay in a file that was left before. A call site counts once, however often a
loop passes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

from inference.driving.amplitude import Amplitude
from inference.driving.driving import DrivingOptions
from inference.sampling.guidance import Guidance
from inference.sampling.settings import SamplingSettings
from inference.studio.presets import Preset
from inference.studio.request import Request

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("manifests", "curation", "inference")
PARTS = (Request, Preset, SamplingSettings, Guidance, DrivingOptions, Amplitude)
# Settings that may go alone, by the name of the parameter that takes them. Not the seed: a number like any other once it is in the noise.
KNOBS = {
    *(knob.name for part in (SamplingSettings, Amplitude) for knob in fields(part)),
    *("motion", "regions", "retarget", "missing", "still_s", "side_by_side", "paste_back"),
} - {"sampler"}
SOURCES = ("reference", "driving", "audio", "out", "save_template")


def stays(request: Request, call: Callable[[], object]) -> list[str]:
    """The files in which the request stays while `call` runs, in order, relative to the repository."""
    paths = {str(value) for name in SOURCES if (value := getattr(request, name))}
    found: list[str] = []
    passed: set[tuple] = set()
    seen: set[FrameType] = set()  # a generator's frame is entered again at each resumption

    def is_part(name: str, value: Any) -> bool:
        return name in KNOBS or isinstance(value, PARTS) or (isinstance(value, str | Path) and str(value) in paths)

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or frame in seen or code.co_name.startswith("<") or not (file := _ours(frame)):
            return
        seen.add(frame)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if not any(is_part(name, frame.f_locals[name]) for name in names if name in frame.f_locals):
            return
        caller = frame.f_back
        while caller is not None and not _ours(caller):  # past contextlib and its like
            caller = caller.f_back
        site = (caller and caller.f_code, caller and caller.f_lineno, code)
        if site in passed:
            return
        passed.add(site)
        if not found or found[-1] != file:
            found.append(file)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def _ours(frame: FrameType) -> str:
    """The file that the frame is of, relative to the repository; empty if it is not of the packages."""
    file = Path(frame.f_code.co_filename)
    if not file.is_relative_to(ROOT) or file.relative_to(ROOT).parts[0] not in PACKAGES:
        return ""
    return file.relative_to(ROOT).as_posix()


def returns(files: list[str]) -> int:
    """Stays in files that were left before."""
    return len(files) - len(set(files))
