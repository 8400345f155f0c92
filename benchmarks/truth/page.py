"""docs/truth.md from a summary: every number of it is one of the summary's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.truth.conditions import GUIDANCES, READ_FACTORS
from benchmarks.truth.factors import SIGNALS
from benchmarks.truth.measure import AUDIO_SCALES, MOTIONS
from benchmarks.truth.recipes import RECIPES
from benchmarks.truth.response import READABLE_R
from benchmarks.truth.sections import ablation_lines, shown, table3_lines
from manifests import UserError
from manifests.atomic import put

Figure = dict[str, Any]
SUMMARY, ABLATIONS, TABLE3_FILE = "truth.json", "truth_ablations.json", "truth_table3.json"
# What must hold of the full recipe (r of a factor with its own signal, by where that comes from), and how much may leak.
LEAST_R = {"lips": 0.9, "lids": 0.9, "sound": 0.7}
MOST_LEAK_PERCENT = 5.0
ENOUGH_PEOPLE = 20

_INTRODUCTION = """\
# Truth: what drives what, measured with planted motion

`make truth ARGS="--people {people} --seconds {seconds:g}"` on model `{model}`: stage {stage}, step {step:,}, trained on {trained_on};
preset `{preset}`.
{people} rendered people that nothing was trained on, each driven by the next; {seconds:g} s a clip, and a sound of other words.
All factors of a driver move independently of each other and of the sound; the head faces the camera. *Guidance 1* is the model
unguided; *as it ships* is guided as the preset and the model's own limits say, as for any user. Figures are
means over people with 95 % intervals (`inference/evaluation/statistics.py`), all in [truth.json](truth.json).

How it is measured: what landmarks read of every answer at the model's size is regressed on all ten planted signals at once.
Landmarks mix factors, so their own matrix, measured on the drivers, is divided out first, and how much they see of each factor
in each face. A face in which they read a factor of its own act with r below {readable_r:g} (lips in a full beard, eyes in shadow) says
nothing of that factor. *Slope* 1 is as much as the driver,
*r* the partial correlation; it is not corrected for the landmarks' noise, which the first table shows. *Response* is to one
standard deviation of a signal, in % of the factor's response to its own with eyes and mouth shown. A *leak* is the response
to a signal that is given and must not drive the factor; its sign is kept.

![driver, eyes and mouth, eyes alone, sound and eyes](images/truth.jpg)

Rows: the driver; what eyes and mouth make of the portrait; eyes alone (a mouth that opens here is a leak); sound and eyes.
Columns: frames in which the driver's lids or lips are furthest from their mean.

## What landmarks can tell

Read from the drivers themselves, cut to the model's size; face found in {found:.1f} % of the frames. Up and down of the gaze
cannot be read at this size and is planted only.

| factor | planted deviation | slope read | r, all people | people in whom it can be read | worst crosstalk, divided out |
|---|---|---|---|---|---|
"""
_CONTROLS = """
## The instrument on planted models

The renderer itself, driven by the condition, read as any answer is. On the mesh, without landmarks, it follows with
r ≥ 0.95, leaks ≤ 2 % and a planted leak reads within 10 % (`pytest tests/benchmarks/test_truth.py`); what landmarks add:
"""
_SMALL = """\
The face mesh sees little of a mouth that hardly opens:
small leaks into a closed mouth read too small, and people differ in how far it sees any."""
_GLASSES = """
## Drivers with glasses

Eyes alone shown (lids, brows), mouth alone shown (lips): r with the driver's own, by what the driver wears. A model that
was trained by the portrait's own person alone may draw a driver's glasses on a portrait that has none.

| | driver wears | lids | brows | lips |
|---|---|---|---|---|
"""
_IDENTITY = """
## Identity

Where a recognition network places the answer between the portrait (0) and the driver (1). Sound alone shows no driver at
all: what it reads is the model's blur and the network's noise; a driver's face that leaks reads higher.

| condition | towards the driver |
|---|---|
"""
_FEW = "- {people} people are few: intervals are wide, and a leak of a few % cannot be told from none."
_NO_ABLATIONS = """\
- The ablations (the correlated world, face dropout, Eq. 2, the masked loss, shares of stage 2, patches, sound): the recipe
  is `make truth-ablations`, and has not been run."""
_NO_TABLE = '- Table 3 (A, V, A+V by the evaluation\'s own figures): `make truth ARGS="--part table3"`.'
_NEVER = """\
- Yaw and pitch: the model moves a portrait in the picture's plane, and the drivers face the camera."""


def page(summary: dict[str, Any], ablations: list[dict[str, Any]] | None = None, table3: dict[str, Any] | None = None) -> str:
    """Markdown.

    Args:
        ablations: docs/truth_ablations.json, a `benchmarks.truth.rows.table` a plan.
        table3: docs/truth_table3.json, of `benchmarks.truth.table3.figures`.
    """
    about = summary["about"]
    facts = about | {
        "trained_on": about["trained_on"] or "what was not recorded",
        "found": 100 * summary["reader"]["found"],
        "readable_r": READABLE_R,
    }
    lines = _INTRODUCTION.format(**facts).splitlines()
    for factor, row in summary["reader"]["factors"].items():
        worst = f"{row['worst crosstalk, %']:.0f} % of {row['of']}"
        lines.append(f"| {factor} | {row['moves']:.3g} | {row['slope']:.3g} | {shown(row['r'])} | {row['readable']} | {worst} |")
    lines += _controls(summary["controls"])
    lines += ["", "## What must hold", "", "| what | asked | found | holds |", "|---|---|---|---|"]
    lines += [f"| {what} | {asked} | {found} | {holds} |" for what, asked, found, holds in bars(summary)]
    lines += ["", "*Open*: the interval holds both answers; more people or seconds decide.", "", "## Following", ""]
    lines += ["| condition | face found | " + " | ".join(READ_FACTORS) + " |", f"|---|---|{'---|' * len(READ_FACTORS)}"]
    for name, condition in summary["conditions"].items():
        cells = [_followed(condition["follow"].get(factor)) for factor in READ_FACTORS]
        lines.append(f"| {name} | {condition['found']:.3f} | {' | '.join(cells)} |")
    lines += ["", "Slope; r; means. `–`: its signal is not given, or nobody's face shows it.", "", "## Response matrices", ""]
    lines += ["In % of the response to the own signal with eyes and mouth shown, with the interval's half width; **bold**: a leak whose"]
    lines += ["interval excludes 0."]
    for name, condition in summary["conditions"].items():
        lines += ["", f"### {name}", "", f"| | {' | '.join(SIGNALS)} |", f"|---|{'---|' * len(SIGNALS)}"]
        pairs = {tuple(pair) for pair in condition["leaks"]}
        for factor, row in condition["response, % of the own"].items():
            lines.append(f"| {factor} | {' | '.join(_response(row[signal], (factor, signal) in pairs) for signal in SIGNALS)} |")
    lines += _glasses(summary["glasses"]) + _identity(summary) + _amplitude(summary["amplitude"])
    lines += (ablation_lines(ablations) if ablations else []) + (table3_lines(table3) if table3 else [])
    lines += _unmeasured(summary, ablations, table3)
    return "\n".join(lines) + "\n"


def committed(docs: Path, name: str) -> Any:
    """A JSON file of `docs`; None where it is not there."""
    file = docs / name
    return json.loads(file.read_text()) if file.is_file() else None


def write_page(docs: Path) -> None:
    """docs/truth.md from the JSON files beside it.

    Raises:
        UserError: there is no docs/truth.json.
    """
    found = committed(docs, SUMMARY)
    if found is None:
        raise UserError(f"{docs / SUMMARY} is missing: `make truth ARGS=--docs` writes it")
    put(docs / "truth.md", page(found, committed(docs, ABLATIONS), committed(docs, TABLE3_FILE)).encode())


def bars(summary: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, asked, found, holds)."""
    found = []
    for name, condition in summary["conditions"].items():
        for factor in ("lips", "lids"):
            row = condition["follow"].get(factor)
            if row:
                least = LEAST_R[row["signal"]]
                holds = verdict(row["r"], least=least)
                found.append((f"{name}: {factor} follow {row['signal']}, r", f"≥ {least:g}", shown(row["r"]), holds))
        for factor, signal in (("lips", "lids"), ("lips", "brows"), ("lids", "lips"), ("lids", "sound")):
            if [factor, signal] in condition["leaks"]:
                leak = condition["response, % of the own"][factor][signal]
                holds = verdict(leak, most=MOST_LEAK_PERCENT)
                found.append((f"{name}: {signal} leak into {factor}, %", f"≤ {MOST_LEAK_PERCENT:g}", shown(leak, 1), holds))
    return found


def verdict(figure: Figure, least: float | None = None, most: float | None = None) -> str:
    """yes or no where the whole interval says so, else open."""
    low, high = figure["low"], figure["high"]
    if low is None or high is None:
        return "open"
    if least is not None:
        return "yes" if low >= least else "**no**" if high < least else "open"
    assert most is not None
    return "yes" if max(abs(low), abs(high)) <= most else "**no**" if low > most or high < -most else "open"


def _controls(controls: dict[str, Any]) -> list[str]:
    if not controls:
        return []
    worst = max(controls["leaks"], key=lambda name: abs(controls["leaks"][name]["mean"] or 0))
    lines = [*_CONTROLS.splitlines(), "", f"| | {' | '.join(controls['follow'])} |", f"|---|{'---|' * len(controls['follow'])}"]
    for name in ("slope", "r"):
        lines.append(f"| copying: {name} | {' | '.join(shown(row[name]) for row in controls['follow'].values())} |")
    told = f"Largest of {len(controls['leaks'])} leaks read where none is: {worst}, {shown(controls['leaks'][worst], 1)} %."
    if "planted leak, %" in controls:
        planted, read = controls["planted leak, %"], shown(controls["read leak, %"], 1)
        told += f"\nLips that open as the lids close: planted {planted:.0f} %, read {read} %. {_SMALL}"
    return [*lines, "", told]


def _followed(row: dict[str, Any] | None) -> str:
    return f"{row['slope']['mean']:.2f}; {row['r']['mean']:.2f}" if row and row["r"]["mean"] is not None else "–"


def _response(figure: Figure, is_leak: bool) -> str:
    if figure["mean"] is None:
        return "–"
    if figure["low"] is None:
        return f"{figure['mean']:.0f}"
    text = f"{figure['mean']:.0f} ± {(figure['high'] - figure['low']) / 2:.0f}"
    return f"**{text}**" if is_leak and (figure["low"] > 0 or figure["high"] < 0) else text


def _glasses(by_guidance: dict[str, Any]) -> list[str]:
    lines = _GLASSES.splitlines()
    for label, rows in by_guidance.items():
        for name, row in rows.items():
            cells = [
                f"{shown(row[factor])}, {row[factor]['people']} people" if factor in row else "–" for factor in ("lids", "brows", "lips")
            ]
            lines.append(f"| {label} | {name} | {' | '.join(cells)} |")
    return lines


def _identity(summary: dict[str, Any]) -> list[str]:
    rows = [(name, condition["identity"]) for name, condition in summary["conditions"].items() if "identity" in condition]
    if not rows:
        return ["", "Identity was not measured."]
    return [*_IDENTITY.splitlines(), *(f"| {name} | {shown(figure)} |" for name, figure in rows)]


def _amplitude(amplitude: dict[str, Any]) -> list[str]:
    lines = ["", "## Amplitude"]
    if len(amplitude["audio_scale"]) > 1:
        lines += ["", "| `audio_scale` (sound alone) | lip-gap variance, of that at 1 | slope on the sound |", "|---|---|---|"]
        lines += [f"| {scale} | {shown(row['lip variance'])} | {shown(row['slope'])} |" for scale, row in amplitude["audio_scale"].items()]
    if len(amplitude["motion"]) > 1:
        names = list(next(iter(amplitude["motion"].values())))
        lines += ["", f"| `motion` (eyes and mouth), slope of | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        lines += [f"| {motion} | {' | '.join(shown(row[name]) for name in names)} |" for motion, row in amplitude["motion"].items()]
        lines += ["", "Right is a slope equal to `motion`."]
    return lines if len(lines) > 2 else [*lines, "", 'Not measured yet: `make truth ARGS="--part amplitude"`.']


def _unmeasured(summary: dict[str, Any], ablations: list[dict[str, Any]] | None, table3: dict[str, Any] | None) -> list[str]:
    people, conditions, amplitude = summary["about"]["people"], summary["conditions"], summary["amplitude"]
    told = [_FEW.format(people=people)] if people < ENOUGH_PEOPLE else []
    missing = [label for label in GUIDANCES.values() if not any(name.endswith(label) for name in conditions)]
    missing += [f"`audio_scale` {scale:g}" for scale in AUDIO_SCALES if f"{scale:g}" not in amplitude["audio_scale"]]
    missing += [f"`motion` {motion:g}" for motion in MOTIONS if f"{motion:g}" not in amplitude["motion"]]
    told += [f"- {', '.join(missing)}: left out of this run."] if missing else []
    told += [] if ablations else [_NO_ABLATIONS]
    told += [] if table3 else [_NO_TABLE]
    untrained = [f"`{name}`" for name in RECIPES if ablations and not any(name in one["rows"] for one in ablations)]
    told += [f"- Rows of the ablations that nobody trained (`make truth-ablations`): {', '.join(untrained)}."] if untrained else []
    return ["", "## What was not measured", "", *told, _NEVER]
