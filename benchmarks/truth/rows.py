"""From the figures of many models to the table of the ablations: a row a recipe, and how it differs from the row it is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.truth.conditions import CONDITIONS, UNGUIDED
from benchmarks.truth.measure import response_name
from benchmarks.truth.recipes import RECIPES, START
from benchmarks.truth.response import Calibration, Moments, Responses, over_people
from benchmarks.truth.summary import plain

COLUMNS = {  # name → condition, factor, signal, whether it is a leak
    "lips follow the mouth, r": ("both", "lips", "lips", False),
    "lids follow the eyes, r": ("eyes", "lids", "lids", False),
    "lips follow the sound, r": ("sound", "lips", "sound", False),
    "beside the eyes: lips follow the sound, r": ("sound+eyes", "lips", "sound", False),
    "eyes alone: lids leak into lips, %": ("eyes", "lips", "lids", True),
    "eyes alone: brows leak into lips, %": ("eyes", "lips", "brows", True),
    "sound and eyes: lids leak into lips, %": ("sound+eyes", "lips", "lids", True),
    "sound and eyes: brows leak into lips, %": ("sound+eyes", "lips", "brows", True),
    "mouth alone: lips leak into lids, %": ("mouth", "lids", "lips", True),
    "mouth alone: lips leak into brows, %": ("mouth", "brows", "lips", True),
    "sound: leaks into lids, %": ("sound", "lids", "sound", True),
}
Values = dict[tuple[int, int], float]
"""By (seed, person)."""


def table(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """`about` and `rows`: of every finished model in `folder`/RECIPE-SEED.

    A row's `figures` are means over clips with intervals over people; its `differences` those of the same people and seeds from the row
    that its recipe is held against, or, where that is itself or not there yet, from the weights that all continue.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for done in sorted(folder.glob("*/done")):
        name, seed = done.parent.name.rsplit("-", 1)
        found.setdefault(name, {})[int(seed)] = json.loads((done.parent / "figures.json").read_text())
    values = {name: {column: of_column(seeds, about["tested"], *what) for column, what in COLUMNS.items()} for name, seeds in found.items()}
    rows = {}
    for name in [START, *RECIPES]:
        if name not in found:
            continue
        recipe = RECIPES.get(name)
        against = next((one for one in recipe.against if one != name and one in found), START) if recipe else START
        base = values.get(against) if recipe else None
        rows[name] = {
            "what": recipe.what if recipe else "the weights that every row continues, before it does",
            "seeds": sorted(found[name]) if recipe else [],
            "figures": {column: _interval(ours, column) for column, ours in values[name].items() if ours},
        }
        if base:
            rows[name]["against"] = against
            less = {column: _less(ours, base[column], against == START) for column, ours in values[name].items()}
            rows[name]["differences"] = {column: _interval(one) for column, one in less.items() if one}
    return {"about": about, "rows": rows}


def _less(ours: Values, base: Values, one_for_all: bool) -> Values:
    """Differences by seed and person. `one_for_all`: the base has one model, whatever the seed."""
    bases = {key: (0, key[1]) if one_for_all else key for key in ours}
    return {key: value - base[bases[key]] for key, value in ours.items() if bases[key] in base}


def of_column(seeds: dict[int, dict[str, Any]], people: int, condition: str, factor: str, signal: str, is_leak: bool) -> Values:
    """A column's value of every clip; empty where it was not measured.

    Args:
        seeds: `Kept.values` of each seed's model.
    """
    answers = {name: _clips(seeds, name, people) for name in {condition, "both"}}
    ours, whole = answers[condition], answers["both"]
    if not ours or not whole:
        return {}
    any_seed = next(iter(seeds.values()))
    drivers = {k: Moments.from_tree(tree) for k in range(people) if (tree := any_seed[f"reader/{k}"]["moments"])}
    calibration = Calibration.of(drivers)
    responses = Responses(list(ours.values()), [k for _, k in ours], calibration)
    if not is_leak:
        return dict(zip(ours, responses.rs(factor, signal).tolist(), strict=True))
    own = Responses(list(whole.values()), [k for _, k in whole], calibration).own_response(factor, factor)
    return dict(zip(ours, responses.leaks(factor, signal, own).tolist(), strict=True))


def _clips(seeds: dict[int, dict[str, Any]], condition: str, people: int) -> dict[tuple[int, int], Moments]:
    assert condition in CONDITIONS
    return {
        (seed, k): Moments.from_tree(tree["moments"])
        for seed, kept in seeds.items()
        for k in range(people)
        if (tree := kept.get(response_name(condition, UNGUIDED, k))) and tree["moments"]
    }


def _interval(values: Values, column: str = "") -> dict[str, Any]:
    bounds = (-1.0, 1.0) if column.endswith(", r") else (-float("inf"), float("inf"))
    return plain(over_people(list(values.values()), [person for _, person in values], bounds))
