"""From kept figures to what the page says, as plain values: means over people with 95 % intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.truth.conditions import CONDITIONS, GUIDANCES, READ_FACTORS, Condition, leaks
from benchmarks.truth.drivers import driver_of, held_out
from benchmarks.truth.factors import READ, SIGNALS
from benchmarks.truth.measure import AUDIO_SCALES, CONTROLS, MOTIONS, audio_name, motion_name, response_name
from benchmarks.truth.response import READABLE_R, Calibration, Moments, Responses, over_people
from inference.evaluation.statistics import Interval
from manifests import UserError

_FEWEST = 2  # people


def summary(figures: dict[str, Any]) -> dict[str, Any]:
    """Raises UserError where fewer than two drivers could be read."""
    people = range(int(figures["about"]["people"]))
    drivers = {k: clip for k in people if (clip := _moments(figures, f"reader/{k}")) is not None}
    if len(drivers) < _FEWEST:
        raise UserError("the face is found in too few drivers to measure anything: more --people or --seconds")
    calibration = Calibration.of(drivers)
    found: dict[str, Any] = {"about": figures["about"], "reader": _reader(figures, calibration, people), "conditions": {}}
    for guidance, label in GUIDANCES.items():
        both = _responses(figures, [response_name("both", guidance, k) for k in people], calibration)
        for name, condition in CONDITIONS.items():
            names = [response_name(name, guidance, k) for k in people]
            responses = _responses(figures, names, calibration)
            if responses is not None:
                found["conditions"][f"{name}, {label}"] = _condition(figures, names, condition, responses, both)
    found["controls"] = _controls(figures, calibration, people)
    found["amplitude"] = _amplitude(figures, calibration, people)
    found["glasses"] = _by_glasses(figures, calibration)
    return found


def _moments(figures: dict[str, Any], name: str) -> Moments | None:
    tree = figures.get(name)
    return Moments.from_tree(tree["moments"]) if tree and tree["moments"] else None


def _responses(figures: dict[str, Any], names: list[str], calibration: Calibration) -> Responses | None:
    clips = {k: clip for k, name in enumerate(names) if (clip := _moments(figures, name)) is not None}
    return Responses(list(clips.values()), list(clips), calibration) if len(clips) >= _FEWEST else None


def number(value: float) -> float | None:
    """For JSON: to a thousandth; None for NaN."""
    return None if np.isnan(value) else round(float(value), 3)


def plain(interval: Interval) -> dict[str, float | int | None]:
    """For JSON."""
    return {**{name: number(getattr(interval, name)) for name in ("mean", "low", "high")}, "people": interval.n_identities}


def _reader(figures: dict[str, Any], calibration: Calibration, people: range) -> dict[str, Any]:
    """What landmarks make of the drivers, whose truth is known."""
    crosstalk = calibration.crosstalk
    who, rs = list(calibration.r), np.array(list(calibration.r.values()))
    spreads = calibration.spreads[list(READ)]
    rows = {}
    for k, factor in enumerate(READ_FACTORS):
        others = [abs(crosstalk[k, j]) for j in range(len(READ)) if j != k]
        worst = READ_FACTORS[[j for j in range(len(READ)) if j != k][int(np.argmax(others))]]
        rows[factor] = {
            "moves": round(float(spreads[k]), 4),
            "slope": round(float(calibration.reads[k, k]), 4),
            "r": plain(over_people(rs[:, k], who, (-1, 1))),
            "readable": int((rs[:, k] >= READABLE_R).sum()),
            "worst crosstalk, %": round(max(others), 1),
            "of": worst,
        }
    found = [figures[f"reader/{k}"]["found"] for k in people if f"reader/{k}" in figures]
    return {"factors": rows, "found": round(float(np.mean(found)), 4)}


def _condition(figures: dict[str, Any], names: list[str], condition: Condition, ours: Responses, both: Responses | None) -> dict[str, Any]:
    follow, matrix = {}, {}
    for factor in READ_FACTORS:
        if signal := condition.own(factor):
            follow[factor] = {"signal": signal, "slope": plain(ours.slope(factor, signal)), "r": plain(ours.r(factor, signal))}
        if both is not None:
            own = both.own_response(factor, factor)
            matrix[factor] = {signal: plain(ours.leak(factor, signal, own)) for signal in SIGNALS}
    kept = [figures[name] for name in names if name in figures]
    identity = [(k, clip["identity"]) for k, clip in enumerate(kept) if clip.get("identity") is not None]
    result = {
        "found": round(float(np.mean([clip["found"] for clip in kept])), 4),
        "follow": follow,
        "response, % of the own": matrix,
        "leaks": [[factor, signal] for factor, signal in leaks(condition) if factor in matrix],
    }
    if identity:
        result["identity"] = plain(over_people([v for _, v in identity], [k for k, _ in identity]))
    return result


def _by_glasses(figures: dict[str, Any], calibration: Calibration) -> dict[str, Any]:
    """How eyes and mouth follow drivers with and without glasses: by guidance, then by who drives."""
    count = int(figures["about"]["people"])
    people = held_out(count, float(figures["about"]["seconds"]))
    wears = [people[driver_of(k, count)].person.glasses != "none" for k in range(count)]
    found: dict[str, Any] = {}
    for guidance, label in GUIDANCES.items():
        for shown, drivers in (
            ("glasses", [k for k in range(count) if wears[k]]),
            ("no glasses", [k for k in range(count) if not wears[k]]),
        ):
            row = {}
            for factor, condition in (("lids", "eyes"), ("brows", "eyes"), ("lips", "mouth")):
                names = [response_name(condition, guidance, k) for k in drivers]
                clips = {k: clip for k, name in zip(drivers, names, strict=True) if (clip := _moments(figures, name)) is not None}
                if clips:
                    row[factor] = plain(Responses(list(clips.values()), list(clips), calibration).r(factor, factor))
            if row:
                found.setdefault(label, {})[shown] = row
    return found


def _controls(figures: dict[str, Any], calibration: Calibration, people: range) -> dict[str, Any]:
    """Planted models, read as the packaged one is."""
    copying, leaking = (_responses(figures, [f"{name}/{k}" for k in people], calibration) for name in CONTROLS)
    if copying is None:
        return {}
    condition, own = CONDITIONS["both"], {factor: copying.own_response(factor, factor) for factor in READ_FACTORS}
    found: dict[str, Any] = {
        "follow": {
            factor: {"slope": plain(copying.slope(factor, factor)), "r": plain(copying.r(factor, factor))} for factor in READ_FACTORS
        },
        "leaks": {f"{f} from {s}": plain(copying.leak(f, s, own[f])) for f, s in leaks(condition)},
    }
    if leaking is not None:
        lids, lips = (calibration.spreads[SIGNALS.index(name)] for name in ("lids", "lips"))
        planted = -100 * CONTROLS["leaking"][1].lip_leak * float(lids / lips)
        found["planted leak, %"] = round(planted, 1)
        found["read leak, %"] = plain(leaking.leak("lips", "lids", own["lips"]))
    return found


def _amplitude(figures: dict[str, Any], calibration: Calibration, people: range) -> dict[str, Any]:
    found: dict[str, Any] = {"audio_scale": {}, "motion": {}}
    reference = _responses(figures, [audio_name(1.0, k) for k in people], calibration)
    for scale in AUDIO_SCALES:
        ours = _responses(figures, [audio_name(scale, k) for k in people], calibration)
        if ours is not None and reference is not None:
            share = ours.spread("lips") ** 2 / np.nanmean(reference.spread("lips") ** 2)
            found["audio_scale"][f"{scale:g}"] = {
                "lip variance": plain(over_people(share, ours.people, (0, np.inf))), "slope": plain(ours.slope("lips", "sound")),
            }  # fmt: skip
    for motion in MOTIONS:
        ours = _responses(figures, [motion_name(motion, k) for k in people], calibration)
        if ours is not None:
            found["motion"][f"{motion:g}"] = {name: plain(ours.slope(name, name)) for name in ("roll", "shift_x", "shift_y", "zoom")}
    return found
