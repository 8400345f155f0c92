"""The parts in their order and the steps of each, for a device and a size.

At full size everything is the paper's, on random weights; `tiny` runs the same steps on the embedded profile, to try the machinery.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accept.killed_run import records
from benchmarks.accept.step import Figures, Step

PYTHON = sys.executable
DATA_WAIT = 0.02  # of a step, at the most, from the latent cache
MFU_GOALS = {1: 0.45, 2: 0.45, 3: 0.40}  # said beside what is measured; not reaching them fails nothing
TINY_MODEL = (
    "inference_overrides=[model.num_layers=2,model.num_attention_heads=2,model.attention_head_dim=16,model.first_reference_block=1,"
    "model.temporal_heads=2]"
)


@dataclass(frozen=True)
class Machine:
    """Attributes:
    device: cuda or cpu.
    count: of GPUs.
    tiny: the embedded profile at toy size.
    folder: of everything that is written.
    manifest: of the clips to train on; None renders and curates the sample clips.
    """

    device: str
    count: int
    tiny: bool
    folder: Path
    manifest: Path | None = None

    @property
    def clips(self) -> Path:
        return self.manifest or self.folder / "curation"

    @property
    def models(self) -> dict[str, str]:
        """The environment in which the store finds the random networks."""
        return {"MEGACTOR_MODELS": str((self.folder / "models").resolve())}


def doctor(machine: Machine) -> list[Step]:
    need = () if machine.device == "cpu" else ("--gpu",)
    return [Step("doctor/machine", (PYTHON, "-m", "training", "doctor", *need, "--out", str(machine.folder)))]


def tests(machine: Machine) -> list[Step]:
    """At toy size one file of them, on the CPU: its bodies are the same."""
    report = machine.folder / "tests.xml"
    chosen = ("tests/gpu/test_samplers.py",) if machine.tiny else ("-m", "gpu", "tests")
    command = (PYTHON, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *chosen)

    def counted() -> Figures:
        import xml.etree.ElementTree as ElementTree

        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
        return {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}

    def ran(figures: Figures) -> list[str]:
        return [] if figures["tests"] > figures["skipped"] else ["every test was skipped: nothing was shown"]

    return [Step("tests/gpu", command, counted, ran)]


def materials(machine: Machine) -> list[Step]:
    steps = []
    if not machine.tiny:
        steps.append(Step("training/networks", (PYTHON, "-m", "benchmarks.accept.materials", str(machine.folder / "models"))))
    if machine.manifest is None:
        samples, out = str(machine.folder / "samples"), str(machine.folder / "curation")
        steps += [
            Step("training/samples", (PYTHON, "-m", "curation", "samples", "--out", samples)),
            Step("training/curation", (PYTHON, "-m", "curation", "run", "--source", "samples", "--root", samples, "--out", out)),
        ]
    return steps


def training(machine: Machine) -> list[Step]:
    """30 steps a stage, eager and compiled, decoding and from the latent cache. The last of a stage is killed and goes on; the next stage
    starts from it."""
    steps = materials(machine)
    modes = ("eager",) if machine.tiny else ("eager", "compiled")
    for stage in (1, 2, 3):
        for mode in modes:
            for source in ("online", "cached"):
                last = (mode, source) == (modes[-1], "cached")
                name = f"s{stage}-{mode}-{source}"
                run = machine.folder / "runs" / (f"s{stage}" if last else name)
                arguments = _training_arguments(machine, stage, mode == "compiled", source == "cached")
                if stage > 1:
                    arguments += ("--init", str(machine.folder / "runs" / f"s{stage - 1}"))
                command = (PYTHON, "-m", "training", *arguments, "--out", str(run))
                if last:
                    command = (PYTHON, "-m", "benchmarks.accept.killed_run", str(run), str(_steps(machine) // 2), *arguments)
                steps.append(
                    Step(
                        f"training/{name}{'-killed' if last else ''}",
                        command,
                        _measured(run),
                        _demands(machine, stage, cached=source == "cached"),
                        environment=machine.models,
                        folder=run,
                    )
                )
    return steps


def ranks(machine: Machine) -> list[Step]:
    """Two ranks, data-parallel, and what they reach of twice one rank's rate."""
    run = machine.folder / "runs" / "s1-two-ranks"
    arguments = _training_arguments(machine, 1, compiled=not machine.tiny, cached=True)
    batch = 2 * (2 if machine.tiny else 8)
    command = (PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "training", *arguments)
    lacking = "" if machine.device == "cpu" or machine.count > 1 else f"needs two devices, there is {machine.count}"
    return [
        Step(
            "ranks/s1-ddp",
            (*command, "--set", f"batch_size={batch}", "--out", str(run)),
            _measured(run),
            _demands(machine, 1, cached=True),
            lacking,
            machine.models | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            run,
        )
    ]


def benchmarks(machine: Machine) -> list[Step]:
    folder, device = machine.folder / "benchmarks", machine.device

    def step(name: str, module: str, *arguments: str, json_file: bool = True) -> Step:
        file = folder / f"{name}.json"
        written = ("--json", str(file)) if json_file else ()
        words = machine.folder / "logs" / f"benchmarks-{name}.txt"
        figures = (
            (lambda: {"figures": json.loads(file.read_text())}) if json_file else (lambda: {"words": words.read_text().splitlines()[1:]})
        )
        return Step(f"benchmarks/{name}", (PYTHON, "-m", f"benchmarks.{module}", *arguments, *written), figures, environment=machine.models)

    if machine.tiny:
        small = ("--set", TINY_MODEL, "--set", "hardware.device=cpu", "--set", "hardware.micro_batch=2", "--set", "batch_size=2")
        return [step("training-s1", "training", "--config", "embedded", "--repeats", "2", *small)]
    cache = machine.folder / "cache"
    return [
        *(step(f"model-s{stage}", "model", "--stage", str(stage), *_model_size(stage), "--compile") for stage in (1, 3)),
        *(step(f"training-s{stage}", "training", "--config", "paper", "--stage", str(stage)) for stage in (1, 2, 3)),
        step("inference", "inference", "--config", "paper", "--frames", "64", "--device", device),
        step("dwpose", "dwpose", "--provider", device, json_file=False),
        step("syncnet", "syncnet", "--device", device, json_file=False),
        Step(
            "benchmarks/cache-latents",
            (PYTHON, "-m", "training", "cache-latents", "--stage", "1", "--config", "paper", "--manifest", str(machine.clips),
             "--out", str(cache), "--device", device),
            lambda: {"words": (machine.folder / "logs" / "benchmarks-cache-latents.txt").read_text().splitlines()[-3:]},
            environment=machine.models,
        ),
    ]  # fmt: skip


def actors(machine: Machine) -> list[Step]:
    file = machine.folder / "actors.json"
    size = ("--size", "256", "--seconds", "2") if machine.tiny else ()
    command = (PYTHON, "-m", "benchmarks.accept.actors", "--device", machine.device, "--json", str(file), *size)
    return [Step("actors/four-on-one", command, lambda: dict(json.loads(file.read_text())))]


PARTS: dict[str, Callable[[Machine], list[Step]]] = {
    "doctor": doctor,
    "tests": tests,
    "training": training,
    "ranks": ranks,
    "benchmarks": benchmarks,
    "actors": actors,
}


def _steps(machine: Machine) -> int:
    return 6 if machine.tiny else 30


def _model_size(stage: int) -> tuple[str, ...]:
    return ("--clips", "16") if stage == 1 else ("--clips", "2", "--frames", "16", "--checkpointing")


def _training_arguments(machine: Machine, stage: int, compiled: bool, cached: bool) -> tuple[str, ...]:
    steps = _steps(machine)
    micro = 2 if machine.tiny else 4 if stage == 3 else 8
    settings = [
        f"steps={steps}",
        f"batch_size={micro}",
        f"hardware.micro_batch={micro}",
        f"hardware.device={machine.device}",
        f"hardware.compile={str(compiled).lower()}",
        f"logging.every_steps={1 if machine.tiny else 5}",
        f"checkpoints.every_steps={2 if machine.tiny else 10}",
        "checkpoints.keep=1",
        "logging.trackers=[]",
        "validation.every_steps=0",
        "videos.every_steps=0",
        "videos.at_end=false",
        "data.variant_share=0",
        "data.cached_frames=32",
        f"data.latent_cache={'auto' if cached else 'null'}",
        "init=random",
    ]
    if machine.tiny:
        settings += [TINY_MODEL, "hardware.workers=0", "hardware.precision='no'", "data.split=all"]
    else:
        settings.append(f"hardware.workers={min(8, os.cpu_count() or 1)}")
    given = tuple(word for setting in settings for word in ("--set", setting))
    return ("--stage", str(stage), "--config", "embedded" if machine.tiny else "paper", "--manifest", str(machine.clips), *given)


def _measured(run: Path) -> Callable[[], Figures]:
    """The last record of the log, which covers steps that compiled and warmed up before."""

    def read() -> Figures:
        found = records(run)
        last = found[-1]
        numbers = [value for record in found for value in record.values() if isinstance(value, int | float)]
        kept = ("step", "samples_per_s", "step_s", "data_s", "forward_s", "backward_s", "optimiser_s", "mfu", "peak_memory_gib", "skipped")
        figures = {name: last[name] for name in kept if name in last}
        return figures | {"data_wait": last["data_s"] / last["step_s"], "finite": all(math.isfinite(value) for value in numbers)}

    return read


def _demands(machine: Machine, stage: int, cached: bool) -> Callable[[Figures], list[str]]:
    def wrong(figures: Figures) -> list[str]:
        lines = []
        if figures["step"] != _steps(machine):
            lines.append(f"it ended at step {figures['step']} of {_steps(machine)}")
        if not figures["finite"] or figures.get("skipped"):
            lines.append(f"not every loss and gradient was finite ({figures.get('skipped', 0)} steps skipped)")
        if machine.device == "cuda" and cached and figures["data_wait"] > DATA_WAIT:
            lines.append(f"{figures['data_wait']:.1%} of a step waits for data; at most {DATA_WAIT:.0%} from the cache")
        if machine.device == "cuda" and not figures.get("mfu", 1) > 0.05:
            lines.append(f"MFU is {figures['mfu']:.1%} in stage {stage}: something is wrong, the goal is {MFU_GOALS[stage]:.0%}")
        return lines

    return wrong
