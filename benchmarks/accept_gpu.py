"""`python -m benchmarks.accept_gpu`: the first hour on a GPU. Everything that only a device can prove, on random weights, in this order:

  doctor      driver, torch's build, compiler, shared memory, onnxruntime, NCCL
  tests       pytest -m gpu
  training    30 steps a stage at full size, eager and compiled, decoding and from the latent cache; killed once, and on
  ranks       two data-parallel ranks, where there are two devices
  benchmarks  model, training, inference presets, DWPose, SyncNet, latent cache
  actors      four Ray actors on a quarter of the GPU each

It stops at the first failure; the same command goes on with the step that failed. What was found stands in OUT/accept.json and
OUT/accept.md, each step's words in OUT/logs. `--write-docs` puts the figures, with the card's name, into docs/performance.md.

Exit codes: 0 all passed, 1 a step failed, 2 no GPU or a mistake.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.accept.journal import FAILED, PASSED, SKIPPED, Journal, Result, read
from benchmarks.accept.page import lines_of, write_docs, write_page
from benchmarks.accept.parts import PARTS, Machine
from benchmarks.accept.step import run
from manifests import UserError

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def facts(device: str, tiny: bool) -> dict[str, Any]:
    """What a page must say about the machine.

    Raises:
        UserError: no GPU.
    """
    import torch

    if device == "cpu":
        return {"name": "the CPU", "device": "cpu", "count": 0, "tiny": tiny, "torch": torch.__version__, "driver": "none"}
    if not torch.cuda.is_available():
        raise UserError(
            "no CUDA device: this is for a machine with a GPU (make doctor says what is missing); "
            "--device cpu --tiny tries the machinery at toy size"
        )
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False, timeout=60
    )
    driver = (asked.stdout.splitlines() or ["unknown"])[0].strip()
    count = torch.cuda.device_count()
    return {
        "name": torch.cuda.get_device_name(),
        "device": "cuda",
        "count": count,
        "tiny": tiny,
        "torch": torch.__version__,
        "driver": driver,
    }


def accept(journal: Journal, machine: Machine, parts: list[str], again: bool) -> bool:
    """Runs what has not passed yet; False at the first failure."""
    for part in parts:
        for step in PARTS[part](machine):
            old = journal.results.get(step.name)
            if old is not None and old.state == PASSED and not again:
                print(f"{PASSED:8} {step.name:40} before", flush=True)
                continue
            if step.lacking:
                journal.add(step.name, Result(SKIPPED, why=[step.lacking]))
                print(f"{SKIPPED:8} {step.name:40} {step.lacking}", flush=True)
                continue
            if sys.stdout.isatty():
                print(f"{'':8} {step.name:40} ...", end="\r", flush=True)
            result = run(step, machine.folder)
            journal.add(step.name, result)
            print(f"{result.state:8} {step.name:40} {result.seconds:6.0f} s  {lines_of(result.figures)[:160]}", flush=True)
            if result.state == FAILED:
                print("\n".join(f"         {line}" for line in result.why), flush=True)
                return False
    return True


def main(arguments: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accept_gpu", description=__doc__, formatter_class=raw)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part (may be given again); default: all, in order")
    parser.add_argument("--out", default="outputs/accept", help="folder of results, logs, clips and runs")
    parser.add_argument("--manifest", help="a curation run's folder to train on; default: the sample clips, rendered and curated here")
    parser.add_argument("--again", action="store_true", help="repeat what passed before, too")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy size, to try the machinery; with --device cpu")
    parser.add_argument("--list", action="store_true", help="print the steps' commands and end")
    parser.add_argument("--write-docs", action="store_true", help="put the figures of --out into docs/performance.md and end")
    options = parser.parse_args(arguments)
    folder = Path(options.out)
    parts = [name for name in PARTS if options.part is None or name in options.part]
    try:
        if options.tiny != (options.device == "cpu"):
            raise UserError("--tiny and --device cpu go together: full size needs a GPU, and on a GPU toy figures say nothing")
        if options.write_docs:
            write_docs(DOCUMENT, read(folder))
            print(f"figures written to {DOCUMENT}")
            return 0
        if options.list:
            machine = Machine(options.device, 1, options.tiny, folder, Path(options.manifest) if options.manifest else None)
            print("\n".join(f"{step.name:40} {' '.join(step.command)}" for part in parts for step in PARTS[part](machine)))
            return 0
        known = facts(options.device, options.tiny)
        (folder / "benchmarks").mkdir(parents=True, exist_ok=True)
        journal = Journal(folder, known)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    manifest = Path(options.manifest).resolve() if options.manifest else None
    machine = Machine(options.device, known["count"], options.tiny, folder, manifest)
    try:
        well = accept(journal, machine, parts, options.again)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on", file=sys.stderr)
        return 130
    finally:
        if journal.results:
            print(f"\n{write_page(folder, read(folder))}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
