"""Who survives a filter: the share of each group of people whose clips a preset accepts. Nobody in the field publishes that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import manifests
from benchmarks.people.frames import truth_of
from benchmarks.people.groups import PERSON_GROUPS, by_group

# How large a face is in the picture was the renderer's choice, and no matter of who it is.
_SIZE_COLUMNS = frozenset({"face_width_px", "face_height_px", "face_size_px_p5"})


def survival(people: Path, run: Path) -> dict[str, dict]:
    """By preset: `figures` by group of people; `judged by`, the rules; `left out`, those that the run did not measure, and sizes."""
    rows = manifests.load(run)
    truths = [truth_of(people, key) for key in rows["source_key"]]
    rows = rows.assign(**{name: [getattr(truth.person, name) for truth in truths] for name in ("sex", "age_years", "skin_tone")})
    found = {}
    for name, preset in sorted(manifests.load_presets().items()):
        rules = [rule for rule in preset.rules if rule.column not in _SIZE_COLUMNS and rows.get(rule.column) is not None]
        rules = [rule for rule in rules if rows[rule.column].notna().any()]
        left_out = sorted({rule.text for rule in preset.rules if rule not in rules})
        if rules:
            judged = rows.assign(survives=manifests.apply(rows, replace(preset, rules=tuple(rules)))["accepted"])
            figures = by_group(judged, PERSON_GROUPS, {"survives": lambda group: float(group["survives"].mean())})
        else:
            figures = {}
        found[name] = {"figures": figures, "judged by": [rule.text for rule in rules], "left out": left_out}
    return found
