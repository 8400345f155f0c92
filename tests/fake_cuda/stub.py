"""Builds libcuda.so.1 and a runtime library of functions that succeed and do nothing, and starts Python with them before the real ones."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_DRIVER = {  # what a driver answers with more than "success"
    "cuDevicePrimaryCtxGetState": "(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }",
    "cuDeviceGetCount": "(int *count) { *count = 1; return 0; }",
    "cuDriverGetVersion": "(int *version) { *version = 13000; return 0; }",
    "cuGetErrorString": '(int error, const char **text) { *text = "stub"; return 0; }',
    "cuGetErrorName": '(int error, const char **text) { *text = "stub"; return 0; }',
}

_EMPTY = (
    "__host__", "__device__", "__global__", "__shared__", "__constant__", "__managed__", "__import__", "__export__", "__cdecl", "CUDARTAPI",
    "CUDARTAPI_CDECL", "__specialization_static", "__device_builtin__", "__device_builtin_texture_type__",
    "__device_builtin_surface_type__", "__cudart_builtin__", "__grid_constant__",
)  # fmt: skip
# NVIDIA's wheels leave out this header, which gives its keywords their meaning for a C compiler: none, but for these.
_HOST_DEFINES = "\n".join(
    [
        *(f"#define {word}" for word in _EMPTY),
        "#define __thread__ __thread",
        "#define __noinline__ __attribute__((noinline))",
        "#define __forceinline__ __inline__ __attribute__((always_inline))",
        "#define __align__(n) __attribute__((aligned(n)))",
        "#define __builtin_align__(n) __align__(n)",
        "#define __annotate__(a) __attribute__((a))",
        "#define __location__(a)",
        "#define __launch_bounds__(...)",
        "#define __cluster_dims__(...)",
        "",
    ]
)


def build() -> Path:
    """The folder of the two libraries, made once for this source and these headers; skips the test where they cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the stub of the CUDA driver needs Linux and a C compiler")
    found = importlib.util.find_spec("nvidia")
    places = [Path(place) / "cu13" / "include" for place in (found.submodule_search_locations or ())] if found else []
    include = next((place for place in places if (place / "cuda.h").is_file()), None)
    if include is None:
        pytest.skip("the headers of CUDA 13 are not installed (torch for the CPU has none)")
    driver = _driver_source((include / "cuda.h").read_text(encoding="utf-8", errors="replace"))
    runtime = [HERE / "runtime.c", HERE / "runtime_names.c"]
    key = hashlib.sha256(driver.encode() + b"".join(file.read_bytes() for file in runtime)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"megactor-fake-cuda-{os.getuid()}-{key}"
    if not (folder / "done").exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "crt").mkdir(exist_ok=True)
        (folder / "crt" / "host_defines.h").write_text(_HOST_DEFINES)
        (folder / "driver.c").write_text(driver)
        flags = ["-shared", "-fPIC", "-O1", "-w"]
        made = [
            [compiler, *flags, "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1"), str(folder / "driver.c")],
            [compiler, *flags, "-I", str(folder), "-I", str(include), "-o", str(folder / "libruntime.so"), *map(str, runtime), "-ldl"],
        ]
        for command in made:
            subprocess.run(command, check=True, capture_output=True, text=True)
        (folder / "done").touch()
    return folder


def run(module: str, *arguments: str, timeout_s: float = 290) -> dict[str, Any]:
    """What `python -m tests.fake_cuda.MODULE` prints as its last line, as JSON; its own words if it fails."""
    folder = build()
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(folder), "LD_PRELOAD": str(folder / "libruntime.so"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", f"tests.fake_cuda.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def _driver_source(header: str) -> str:
    """One function for every name that cuda.h declares, and for its later versions (`_v2` …), which the header hides behind macros."""
    names = sorted(set(re.findall(r"CUDAAPI (cu[A-Za-z0-9_]+)", header)))
    lines = []
    for name in names:
        lines.append(f"int {name}{_DRIVER.get(name, '(void) { return 0; }')}")
        for version in ("_v2", "_v3", "_v4"):
            if name + version not in names:
                lines.append(f'extern __typeof__({name}) {name}{version} __attribute__((alias("{name}"), weak));')
    return "\n".join(lines) + "\n"
