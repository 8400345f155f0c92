"""Writes a run's report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation.report.templates import page_template
from curation.svg import Point, lines
from curation.wording import clean, duration, number
from manifests.atomic import atomic_path
from manifests.errors import UserError
from training.loop.checkpoints import Checkpoints, read_state
from training.loop.run_folder import Log, read_run
from training.loop.stages import NAMES

REPORT_FILE = "report.html"
MAX_VIDEO_BYTES = 8_000_000  # of a video within the page; larger ones are named
MAX_EVENTS = 50  # newest that are listed
PHASES = ("data", "forward", "backward", "optimiser")


@dataclass(frozen=True)
class Chart:
    """A drawing, its series in the order of their colours, and a sentence below it."""

    title: str
    svg: str
    series: tuple[str, ...]
    note: str = ""


def write_report(run_dir: Path | str) -> Path:
    """Writes `report.html` into the folder of a finished or running run, whole or not at all.

    Raises:
        UserError: no run there, or a folder that cannot be written.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir)
    if run is None:
        raise UserError(f"{run_dir} holds no training run (no run.yaml)")
    html = page_template(Path(__file__).parent, "training.html.jinja").render(_context(run_dir, run, Log(run_dir).read()))
    target = run_dir / REPORT_FILE
    with atomic_path(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return target


def _context(run_dir: Path, run: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    config = run["config"]
    by_kind = {kind: [r for r in records if r.get("kind") == kind] for kind in ("train", "validation", "videos", "event")}
    newest = Checkpoints(run_dir).newest()
    state = read_state(newest) if newest else None
    step = max([*(r["step"] for r in records), state.step if state else 0])
    return {
        "title": f"{clean(run_dir.absolute().name, 60)}: stage {config['stage']}, {NAMES[config['stage']]}",
        "is_running": step < config["steps"],
        "step": step,
        "steps": config["steps"],
        "figures": _figures(by_kind, state),
        "about": _about(run, state),
        "losses": _losses(by_kind),
        "speed": _speed(by_kind["train"]),
        "videos": [_video(run_dir, record) for record in by_kind["videos"][-3:]][::-1],
        "events": [(r["step"], clean(r.get("message", ""), 300)) for r in by_kind["event"][-MAX_EVENTS:]],
        "n_events": len(by_kind["event"]),
        "configuration": yaml.safe_dump(
            {key: run.get(key) for key in ("config", "inference", "start", "data", "manifest")}, sort_keys=False, allow_unicode=True
        ),
    }


def _figures(by_kind: dict[str, list[dict[str, Any]]], state: Any) -> list[tuple[str, str, str]]:
    """(value, label, detail) of the cards on top."""
    train, validation, found = by_kind["train"], by_kind["validation"], []
    if train:
        found.append((number(train[-1]["loss"], 3), "training loss", f"first record {number(train[0]['loss'], 3)}"))
    if validation:
        found.append((number(validation[-1]["loss"], 3), "validation loss", f"first {number(validation[0]['loss'], 3)}, averaged weights"))
    if train:
        last = train[-1]
        share = last["data_s"] / last["step_s"] if last["step_s"] else 0.0
        detail = f"{share:.1%} of the step waits for data" + (f", MFU {last['mfu']:.1%}" if "mfu" in last else "")
        found.append((number(last["samples_per_s"], 3), "samples a second", detail))
        found.append((f"{last['peak_memory_gib']:.1f} GiB", "peak memory", f"gradient norm {number(last['gradient_norm'], 3)}"))
    if state:
        found.append((duration(round(state.seconds)), "in optimiser steps", f"{state.skipped:,} steps skipped"))
    return found


def _about(run: dict[str, Any], state: Any) -> list[tuple[str, str]]:
    start, manifest = run["start"], run.get("manifest") or {}
    origin = start["kind"] if start["kind"] == "random" else f"{start['source']}" + (f", step {start['step']}" if start.get("step") else "")
    lines = [
        ("start", origin),
        ("manifest", clean(manifest.get("path", ""))),
        ("its SHA-256", manifest.get("sha256") or "not one file"),
        ("clips", f"{clean(manifest.get('clips', ''), 400)} (fingerprint {run['data'].get('clips', '')})"),
        ("code", run.get("code_version", "")),
        ("batch", f"{run['config']['batch_size']} samples a step"),
    ]
    if state:
        lines.append(("samples seen", f"{state.next_sample:,}; {state.clips_passed_over:,} times a clip was passed over"))
    return lines


def _losses(by_kind: dict[str, list[dict[str, Any]]]) -> list[Chart]:
    train, validation = by_kind["train"], by_kind["validation"]
    timesteps = sorted({key for r in validation for key in r if key.startswith("loss_t")})
    modalities, quarters = ("visual", "audio", "mixed"), range(1, 5)
    charts = [
        _chart("Loss", {"training": (train, "loss"), "validation": (validation, "loss")}, log=True),
        _chart(
            "Noise error by quartile of the timestep", {f"t in quarter {q}": (train, f"loss_simple_t_q{q}") for q in quarters}, log=True
        ),
        _chart("Bound by quartile of the timestep, bits", {f"t in quarter {q}": (train, f"loss_bound_t_q{q}") for q in quarters}, log=True),
        _chart("Noise error by modality", {name: (train, f"loss_simple_{name}") for name in modalities}, log=True),
        _chart("Validation at fixed timesteps", {f"t = {int(key[6:])}": (validation, key) for key in timesteps[:7]}, log=True),
        _chart(
            "Sensitivity",
            {
                f"{cause} swapped, {region}": (validation, f"{cause}_swapped_{region}")
                for cause in ("sound", "driver")
                for region in ("mouth", "eyes")
            },
            from_zero=True,
            note="Mean change of the denoised picture (0…255) when another sample's sound, or driving patches, are given.",
        ),
        _chart("Gradient norm before clipping", {"norm": (train, "gradient_norm")}, log=True),
        _chart("Learning rate", {"rate": (train, "lr")}, from_zero=True),
    ]
    return [chart for chart in charts if chart.svg]


def _speed(train: list[dict[str, Any]]) -> list[Chart]:
    charts = [
        _chart("Samples a second", {"samples a second": (train, "samples_per_s")}, from_zero=True),
        _chart("Seconds of a step", {phase: (train, f"{phase}_s") for phase in PHASES}, from_zero=True),
        _chart("Share of the peak (MFU)", {"MFU": (train, "mfu")}, from_zero=True),
    ]
    return [chart for chart in charts if chart.svg]


def _chart(
    title: str, series: dict[str, tuple[list[dict[str, Any]], str]], note: str = "", *, log: bool = False, from_zero: bool = False
) -> Chart:
    found = []
    for name, (records, key) in series.items():
        if points := [Point(r["step"], float(r[key])) for r in records if r.get(key) is not None]:
            found.append((name, points))
    drawing = lines(found, x_label="optimiser step", y_label=title, log=log, from_zero=from_zero)
    return Chart(title, drawing, tuple(name for name, _ in found), note)


def _video(run_dir: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The video and its picture as data URLs; a video that is too large is named instead."""
    file = run_dir / record["file"]
    picture = file.with_suffix(".png")
    return {
        "step": record["step"],
        "name": record["file"],
        "columns": record.get("columns", []),
        "whose": "a clip that is not trained on" if record.get("held_out", True) else "a clip that is trained on",
        "numbers": [(key.removeprefix("psnr_"), f"{value:.1f} dB") for key, value in record.items() if key.startswith("psnr_")],
        "video": _data_url(file, "video/mp4"),
        "picture": _data_url(picture, "image/png"),
    }


def _data_url(file: Path, kind: str) -> str | None:
    if not file.is_file() or file.stat().st_size > MAX_VIDEO_BYTES:
        return None
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
