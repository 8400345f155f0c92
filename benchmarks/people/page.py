"""The figures as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.people.sync import OFFSETS

_AS_PER_CENT = frozenset({"detected", "landmark error", "survives", "offset within 1 frame"})


def page(report: dict[str, Any]) -> str:
    """docs/people_bench.md."""
    settings, sync = report["set"], report["lip sync"]
    camera = "through a camera with faults" if settings["camera_faults"] else "as clean as rendered"
    lines = [
        "# Curation measured on rendered people",
        "",
        f"`make bench-people` renders people with planted truth ([people.md](people.md)), curates their clips with the embedded profile and"
        f" holds what it read against the truth: {settings['count']} people, {settings['seconds']:g} s each at {settings['size_px']} px,"
        f" {camera}. In brackets: 95 % intervals, a bootstrap over people. Every figure: [people_bench.json](people_bench.json).",
        "",
        "## Landmarks and head pose by group",
        "",
        "Landmark error: mean distance of the visible planted points in % of the distance between the eye centres, median over a person's"
        " frames. Angles: median absolute error; of the pitch each person's own constant is taken out (the generic face that curation"
        " measures against looks up or down a little).",
        "",
        *_table(report["frames"]),
        "",
        "| over a person's whole clip | mean over people |",
        "|---|---|",
        *(f"| {name} | {_cell(name, figure)} |" for name, figure in report["clips"].items()),
        *(
            f"| {name}, median person | {100 * value:.2f} % |" if name in _AS_PER_CENT else f"| {name}, median person | {value:.3f} |"
            for name, value in report["medians"].items()
        ),
        "",
        "FaceMesh reads an open mouth in a full beard as nearly shut ([people_clips.md](people_clips.md)):",
        "",
        *_table(report["lips by beard"]),
        "",
        "## Lip sync",
        "",
        f"The sound of every clip was moved by {OFFSETS[0]} to {OFFSETS[-1]} frames ({sync['planted offsets']} cases), and replaced by"
        " another person's. Accepted: by the two sound rules of preset `embedded`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in sync.items() if name not in ("clips", "planted offsets")),
        "",
        *_table(report["lip sync by group"]),
        "",
        "## Who survives the filters",
        "",
        "Share of the people whose clip the preset accepts, by the rules whose columns the embedded profile measures; sizes are left out,"
        " which the renderer chose. No filter of this field says whether it throws away some groups more than others.",
        "",
        *_survival(report["survival"]),
        "",
    ]
    if report.get("recognition"):
        lines += [
            "## Are they different people?",
            "",
            "MobileFaceNet, trained on photographs, fetched for the measurement from an npm package and no part of the project; two scenes"
            " a person.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in report["recognition"].items()),
            "",
        ]
    return "\n".join(lines)


def _table(figures: dict[str, dict[str, dict[str, dict[str, float]]]]) -> list[str]:
    names = list(figures["all"]["everyone"])
    lines = [f"| by | group | people | {' | '.join(names)} |", f"|---|---|---|{'---|' * len(names)}"]
    for grouping, groups in figures.items():
        for group, found in groups.items():
            people = max(figure["people"] for figure in found.values())
            lines.append(f"| {grouping} | {group} | {people} | {' | '.join(_cell(name, found[name]) for name in names)} |")
    return lines


def _survival(presets: dict[str, dict]) -> list[str]:
    known = {name: found for name, found in presets.items() if found["figures"]}
    groups = [(grouping, group) for grouping, by in next(iter(known.values()))["figures"].items() for group in by]
    lines = [
        f"| preset | {' | '.join(f'{group}' for _, group in groups)} |",
        f"|---|{'---|' * len(groups)}",
    ]
    for name, found in known.items():
        cells = [_cell("survives", found["figures"][grouping][group]["survives"]) for grouping, group in groups]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    lines += ["", "Judged by: " + "; ".join(f"`{name}` {', '.join(found['judged by'])}" for name, found in known.items()) + "."]
    without = [f"`{name}`" for name in presets if name not in known]
    return lines + ([f"No rule of {', '.join(without)} could be judged."] if without else [])


def _cell(name: str, figure: dict[str, float]) -> str:
    if "mean" not in figure:
        return ""
    scale, unit, digits = (100, " %", 1) if name in _AS_PER_CENT else (1, "", 2)
    text = f"{scale * figure['mean']:.{digits}f}{unit}"
    return f"{text} ({scale * figure['low']:.{digits}f} to {scale * figure['high']:.{digits}f})" if "low" in figure else text
