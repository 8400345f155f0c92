"""Two sections of docs/truth.md, each from its committed JSON: the ablations and Table 3 in small."""

from __future__ import annotations

from typing import Any

Figure = dict[str, Any]

_ABLATIONS = """
## Ablations: which cure stops a leak that the data teach

In training, lids and brows of rendered people follow the mouth, and so could tell a model what the mouth does; the test is on
others whose factors are independent, with guidance 1. All rows of a table have the same steps, samples, noise and seeds. All in
[truth_ablations.json](truth_ablations.json).

Leaks as above, in % of the row's own response with eyes and mouth shown: lips that open as the lids close, as in training, read
negative (the lid gap falls); lips that open as the brows rise read positive. Intervals are over people, and say nothing about
other seeds where a row has one.
"""
_TABLE = """
`make truth-ablations ARGS="{given}"`: {people} people of {train_s:g} s to train on (correlation {correlation:g}), {tested} {others} of
{seconds:g} s to test on. {start} {steps} steps of {batch_size}{lr}.
"""
_PICTURE = """
![driver, without the cures, with them](images/truth_ablations.jpg)

Rows: the driver where its lids and brows are furthest from their mean; what `{0}` makes of the portrait from the eyes alone; what
`{1}` makes. Portrait and driver are the first of the set, not chosen.
"""
_DIFFERENCES = """
Differences from the row that each is held against, of the same people and seeds; **bold**: the interval excludes 0.
"""


def shown(figure: Figure, digits: int = 2) -> str:
    """Mean and interval; the mean alone where there are too few people for an interval."""
    if figure["mean"] is None:
        return "–"
    text = f"{figure['mean']:.{digits}f}"
    return text if figure["low"] is None else f"{text} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def ablation_lines(tables: list[dict[str, Any]]) -> list[str]:
    """Of several `benchmarks.truth.rows.table`, each of another plan."""
    return [*_ABLATIONS.splitlines(), *(line for one in tables for line in _table(one))]


def _table(found: dict[str, Any]) -> list[str]:
    about, rows = found["about"], found["rows"]
    steps = [f"{steps:,}" for steps in about["steps"]]
    given = ["--init", about["init"]] if about["init"] else []
    given += ["--steps", *map(str, about["steps"]), "--batch-size", str(about["batch_size"])]
    given += ["--lr", f"{about['lr']:g}"] if about["lr"] else []
    given += ["--size", about["size"]] if about.get("size", "embedded") != "embedded" else []
    given += ["--known"] if about.get("known") else []
    given += ["--people", str(about["people"]), "--clips", str(about["clips"])] if about.get("clips", 1) != 1 else []
    given += [word for setting in about.get("settings", ()) for word in ("--set", setting)]
    facts = about | {
        "given": " ".join([*given, "…"]),
        "start": f"Every row continues the weights `{about['init']}` in stage 2:" if about["init"] else "Every row starts from nothing:",
        "train_s": 2 * about.get("clips", 1),
        "others": "of them in other acts" if about.get("known") else "others",
        "steps": " + ".join(steps),
        "lr": f" at a peak learning rate of {about['lr']:g}" if about["lr"] else "",
    }
    columns = list(dict.fromkeys(column for row in rows.values() for column in row["figures"]))
    rule = f"|---|---|{'---|' * len(columns)}"
    lines = [*_TABLE.format(**facts).splitlines(), "", f"| recipe | seeds | {' | '.join(columns)} |", rule]
    for name, row in rows.items():
        cells = [shown(row["figures"][column], _digits(column)) if column in row["figures"] else "–" for column in columns]
        lines.append(f"| `{name}`: {row['what']} | {len(row['seeds']) or '–'} | {' | '.join(cells)} |")
    lines += ["", _learnt(found)]
    held = {name: row for name, row in rows.items() if row.get("differences")}
    if held:
        lines += [*_DIFFERENCES.splitlines(), "", f"| recipe | from | {' | '.join(columns)} |", rule]
        for name, row in held.items():
            less = row["differences"]
            cells = [_difference(less[column], _digits(column)) if column in less else "–" for column in columns]
            lines.append(f"| `{name}` | `{row['against']}` | {' | '.join(cells)} |")
    return lines + (_PICTURE.format(*found["picture"]).splitlines() if "picture" in found else [])


def _learnt(found: dict[str, Any]) -> str:
    """Whether any row leaks at all: where none does, no cure can show that it cures."""
    samples = sum(found["about"]["steps"]) * found["about"]["batch_size"]
    leaks = [
        f"`{name}`, {column.removesuffix(', %')}: {shown(figure, 1)} %"
        for name, row in found["rows"].items()
        for column, figure in row["figures"].items()
        if column.endswith("%") and _sure(figure)
    ]
    if leaks:
        return f"Leaks whose interval excludes 0: {'; '.join(leaks)}."
    return (
        f"No leak of this table has an interval that excludes 0: in {samples:,} samples no row learnt what the data teach, and so\n"
        "there was nothing for a cure to stop. These rows say nothing for or against the cures."
    )


def _sure(figure: Figure) -> bool:
    return figure["low"] is not None and (figure["low"] > 0 or figure["high"] < 0)


def _digits(column: str) -> int:
    return 1 if column.endswith("%") else 2


def _difference(figure: Figure, digits: int) -> str:
    text = shown(figure, digits)
    return f"**{text}**" if _sure(figure) else text


_TABLE3 = """
## Table 3 in small: sound, video and both

`make truth ARGS="--part table3"` on `{model}`: {pairs} clips of {identities} rendered people that nothing was trained on, {seconds:g} s
each, animated from their first frame by their own sound (A), eyes and mouth (V), and these with the sound (A+V); the last row is
what mixed samples of training see. Preset `{preset}`, everything else as for any user. Judged by `python -m inference.evaluation`
([evaluation.md](evaluation.md)): means with 95 % intervals over people. All in [truth_table3.json](truth_table3.json).
"""
_DISTANCES = """
`frechet_face` and `frechet_motion` stand in FID's and FVD's place: Fréchet distances to the real clips in features that can be had
here, a face-recognition network on every 5th frame and tracks of lips, lids, brows and roll over 16 frames, in units of the real
clips' own variance (a still answer at their mean is 1 away).
"""


def table3_lines(found: dict[str, Any]) -> list[str]:
    """Of `benchmarks.truth.table3.figures`."""
    about, rows, distances = found["about"], found["rows"], found["distances"]
    columns = list(next(iter(rows.values())))
    heads = [*columns, *distances]
    lines = [*_TABLE3.format(**about, **found).splitlines(), "", f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, row in rows.items():
        cells = [shown(row[column]) if column in row else "–" for column in columns]
        cells += [shown(distances[kind][name]) if name in distances[kind] else "–" for kind in distances]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += _DISTANCES.splitlines()
    wanted = [("A", "V"), ("V", "A+V"), ("A", "A+V")]
    compared = [one for one in found["comparisons"] if (one["first"], one["second"]) in wanted and one["metric"] == "lipsync_conf"]
    if compared:
        told = [f"{one['first']} less {one['second']}: {shown(one)}, p {_p(one['p'])}" for one in compared]
        lines += ["", f"Lip-sync confidence, paired by person (p by sign flips, Holm over the table): {'; '.join(told)}."]
    if found["not here"]:
        lines += [
            "",
            f"Not measured, because their networks are not on this machine: {', '.join(f'`{name}`' for name in found['not here'])}.",
        ]
    return lines


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
