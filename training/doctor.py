"""Does this machine carry it? `python -m training doctor` looks at what a run needs and says what to do about what is missing.

Each check runs the thing itself where it can: a compiler compiles, onnxruntime convolves, ranks sum a number.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.errors import UserError

OK, NOTE, FAIL = "ok", "note", "FAIL"
MIN_DRIVER_OF_CUDA = {12: 525, 13: 580}  # NVIDIA's release notes: the first driver of each major version
MIN_SHARED_GB = 2.0  # eight workers hold two stage-3 micro-batches of four clips each: 1.6 GB
CHECKPOINT_GB = 16.0  # of stage 2 at the paper's size: 1.0 B weights, their average and two moments in float32
MIN_DISK_GB = 5 * CHECKPOINT_GB  # three are kept while the next is written, and the pipeline's folder
COLLECTIVE_TIMEOUT_S = 90


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        name: of what was looked at.
        state: ok; note: the embedded profile does without; FAIL: what was asked for will not run.
        text: what was found, and what to do unless it is ok.
    """

    name: str
    state: str
    text: str


def examine(need_gpu: bool, folder: Path = Path()) -> list[Finding]:
    """All checks in order.

    Args:
        need_gpu: without a GPU the paper profile does not run: what is a note otherwise is then a failure.
        folder: where runs will be written.
    """
    devices = _devices()
    lacking = FAIL if need_gpu else NOTE
    checks: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("python", _python),
        ("driver", lambda: _driver(devices, lacking)),
        ("torch", lambda: _torch(devices, lacking)),
        ("compiler", lambda: _compiler(FAIL if devices else NOTE)),
        ("/dev/shm", lambda: _shared_memory(FAIL if devices else NOTE)),
        ("onnxruntime", lambda: _onnxruntime("cuda" if devices or need_gpu else "cpu")),
        ("all-reduce", lambda: _all_reduce(len(devices))),
        ("memory", _memory),
        ("disk", lambda: _disk(folder, FAIL if devices else NOTE)),
    ]
    findings = []
    for name, check in checks:
        try:
            state, text = check()
        except UserError as error:
            state, text = FAIL, str(error)
        except Exception as error:  # a check that breaks is a finding, and the others still run
            state, text = FAIL, f"the check itself failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        findings.append(Finding(name, state, text))
    return findings


def report(findings: Sequence[Finding]) -> str:
    lines = [f"{finding.state:5} {finding.name:12} {finding.text}" for finding in findings]
    failed = [finding.name for finding in findings if finding.state == FAIL]
    lines.append(f"\nnot ready: {', '.join(failed)}" if failed else "\nready" + _for_what(findings))
    return "\n".join(lines)


def _for_what(findings: Sequence[Finding]) -> str:
    return " for the embedded profile" if any(f.name == "driver" and f.state == NOTE for f in findings) else " for the paper profile"


@dataclass(frozen=True)
class Device:
    """A GPU as torch sees it; `capability` as in sm_90, memory in GB."""

    name: str
    capability: int
    memory_gb: float


def _devices() -> list[Device]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(Device(facts.name, facts.major * 10 + facts.minor, facts.total_memory / 1e9))
    return found


def _python() -> tuple[str, str]:
    return OK, f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _driver(devices: list[Device], lacking: str) -> tuple[str, str]:
    from importlib.util import find_spec

    wanted = "the paper profile needs an NVIDIA GPU; the embedded one runs on this CPU"
    if shutil.which("nvidia-smi") is None:
        if devices:
            return OK, f"{len(devices)} × {devices[0].name}, {devices[0].memory_gb:.0f} GB (no nvidia-smi to ask for the driver's version)"
        return lacking, f"no nvidia-smi, so no NVIDIA driver: {wanted}"
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    if asked.returncode or not lines:
        return lacking, f"nvidia-smi sees no GPU ({' '.join((asked.stderr or asked.stdout).split())[:160]}): {wanted}"
    version, _, name = lines[0].partition(",")
    text = f"{version}, {len(lines)} ×{name}"
    if find_spec("torch") is None:
        return OK, text
    import torch

    cuda = int((torch.version.cuda or "0").split(".")[0])
    least = MIN_DRIVER_OF_CUDA.get(cuda, 0)
    if int(version.split(".")[0]) < least:
        return FAIL, f"{text}: torch and onnxruntime-gpu are built for CUDA {cuda}, which needs driver {least} or newer; update the driver"
    return OK, text


def _torch(devices: list[Device], lacking: str) -> tuple[str, str]:
    try:
        import torch
    except ImportError:
        return FAIL, "torch is not installed: make setup-train"
    text = f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    if not devices:
        return lacking if torch.version.cuda else NOTE, f"{text}; it sees no GPU"
    built = torch.cuda.get_arch_list()
    for device in devices:
        if not runs_on(device.capability, built):
            oldest = min((int(arch.split("_")[1]) for arch in built if arch.split("_")[1].isdigit()), default=0)
            hint = "one for CUDA 12.6 (its wheels still have sm_70)" if device.capability < oldest else "a newer one"
            return (
                FAIL,
                f"{text} is built for {' '.join(built)}, and {device.name} is sm_{device.capability}: install another torch, {hint}",
            )
    return OK, f"{text}, {' '.join(built)}, {len(devices)} × {devices[0].name} (sm_{devices[0].capability})"


def runs_on(capability: int, built: Sequence[str]) -> bool:
    """Whether a build for `built` (sm_90, compute_90, sm_90a, …) has code for a device: binary code of the same major version and no
    newer, or portable code that the driver can compile for it."""
    for entry in built:
        kind, _, number = entry.partition("_")
        if not number.isdigit():  # sm_90a runs on exactly that
            if number.rstrip("af").isdigit() and int(number.rstrip("af")) == capability:
                return True
            continue
        arch = int(number)
        if (kind == "compute" and arch <= capability) or (kind == "sm" and arch // 10 == capability // 10 and arch <= capability):
            return True
    return False


def _compiler(lacking: str) -> tuple[str, str]:
    """torch.compile builds a small extension module against Python's headers for each kernel, with what $CC or `cc`, `gcc` name."""
    compiler = next((found for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and (found := shutil.which(name))), None)
    hint = "torch.compile needs it: apt-get install gcc python3-dev, or set hardware.compile=false"
    if compiler is None:
        return lacking, f"no C compiler; {hint}"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint probe(void) { return PY_MAJOR_VERSION; }\n")
        made = subprocess.run(
            [compiler, "-shared", "-fPIC", f"-I{sysconfig.get_paths()['include']}", str(source), "-o", str(Path(folder) / "probe.so")],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    if made.returncode:
        return lacking, f"{compiler} does not compile against Python's headers ({' '.join(made.stderr.split())[:120]}); {hint}"
    return OK, f"{compiler}, with Python's headers"


def _shared_memory(lacking: str) -> tuple[str, str]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return NOTE, "there is none on this system; the loader's workers use files"
    size_gb = shutil.disk_usage(folder).total / 1e9
    if size_gb < MIN_SHARED_GB:
        return lacking, f"{size_gb:.2f} GB: the loader's workers need {MIN_SHARED_GB:g}; docker run --shm-size 8g, or hardware.workers=0"
    return OK, f"{size_gb:.1f} GB"


def _onnxruntime(provider: str) -> tuple[str, str]:
    """Convolves on the provider: that loads cuDNN too, which a session alone does not show."""
    import numpy as np

    from curation.onnx_session import open_session

    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError:
        return FAIL, "the package onnx is not installed, which makes the graph to try: make setup-train"
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "probe",
        [shape("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [shape("y", TensorProto.FLOAT, [1, 8, 32, 32])],
        [helper.make_tensor("w", TensorProto.FLOAT, [8, 3, 3, 3], np.ones(216, np.float32))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    session = open_session(model.SerializeToString(), provider, "or set up CUDA for it: make setup-gpu")
    (answer,) = session.run(None, {"x": np.ones((1, 3, 32, 32), np.float32)})
    if not np.allclose(answer[0, 0, 1:-1, 1:-1], 27):
        return FAIL, f"{session.get_providers()[0]} convolves wrongly: {answer[0, 0, 1, 1]} instead of 27"
    import onnxruntime

    return OK, f"{onnxruntime.__version__}, a convolution ran on {session.get_providers()[0]}"


def _all_reduce(devices: int) -> tuple[str, str]:
    """Ranks in processes of their own sum their numbers, on NCCL where there are GPUs (one device: one rank), on gloo otherwise."""
    backend, ranks = ("nccl", devices) if devices else ("gloo", 2)
    with tempfile.TemporaryDirectory() as folder:
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "training.doctor", backend, str(rank), str(ranks), str(Path(folder) / "meeting")],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for rank in range(ranks)
        ]  # fmt: skip
        try:
            said = [child.communicate(timeout=COLLECTIVE_TIMEOUT_S)[0] for child in children]
        except subprocess.TimeoutExpired:
            return FAIL, f"{backend} did not sum over {ranks} ranks in {COLLECTIVE_TIMEOUT_S} s; try NCCL_P2P_DISABLE=1, NCCL_DEBUG=INFO"
        finally:
            for child in children:
                child.kill()
                child.wait()
    for child, text in zip(children, said, strict=True):
        if child.returncode:
            last = next((line for line in reversed(text.splitlines()) if line.strip()), "no word")
            return FAIL, f"{backend} over {ranks} ranks failed: {last.strip()[:200]}; NCCL_DEBUG=INFO says more"
    return OK, f"{backend} over {ranks} rank{'s' * (ranks > 1)}"


def _rank(backend: str, rank: int, ranks: int, meeting: str) -> None:
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=COLLECTIVE_TIMEOUT_S)
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=ranks, timeout=timeout)
    value = torch.full((1 << 20,), float(rank + 1), device=device)
    dist.all_reduce(value)
    total = float(value[-1])
    dist.destroy_process_group()
    if total != ranks * (ranks + 1) / 2:
        raise SystemExit(f"the sum is {total}, not {ranks * (ranks + 1) / 2}")


def _memory() -> tuple[str, str]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    if pages < 2 * CHECKPOINT_GB:
        return NOTE, f"{pages:.0f} GB: a checkpoint of the paper's size passes through it, {CHECKPOINT_GB:g} GB beside the model's own"
    return OK, f"{pages:.0f} GB"


def _disk(folder: Path, lacking: str) -> tuple[str, str]:
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < MIN_DISK_GB:
        return (
            lacking,
            f"{free_gb:.0f} GB free at {place}: a paper-size stage keeps three checkpoints of 29 GB; checkpoints.keep=1, or --out",
        )
    return OK, f"{free_gb:.0f} GB free at {place}"


if __name__ == "__main__":
    _rank(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
