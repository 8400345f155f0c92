"""Who belongs to which group, and figures of a group with an interval: a bootstrap over people, whose frames are no sample of people."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

N_DRAWS = 2000
SMALLEST_GROUP = 5  # people; of fewer no interval is given

# Groups of people (the same on every frame), then of frames.
PERSON_GROUPS: dict[str, tuple[str, tuple[float, ...] | None]] = {
    "sex": ("sex", None),
    "age": ("age_years", (18, 35, 55, 81)),
    "skin tone (Monk)": ("skin_tone", (1, 4, 7, 10.01)),
}
FRAME_GROUPS: dict[str, tuple[str, tuple[float, ...] | None]] = {
    "yaw": ("yaw_abs_deg", (0, 10, 20, 30)),
    "size (eye distance)": ("eye_distance_px", (0, 40, 50, 60, 1000)),
    "light on the face": ("face_light", (0, 0.4, 0.7, 1.0, 10)),
    "skin as lit (ITA)": ("skin_ita_deg", (-90, -30, 10, 28, 41, 90)),
}


def labels(column: pd.Series, edges: tuple[float, ...] | None) -> pd.Series:
    """The group of each row as text; null outside the edges."""
    if edges is None:
        return column.astype("string")
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    names[-1] = f"{edges[-2]:g} and above" if edges[-1] not in (30, 90) else names[-1]
    return pd.cut(column, edges, labels=names, right=False).astype("string")


def figure(values: pd.Series, seed: int = 0) -> dict[str, float | int]:
    """Mean over people with a 95 % interval.

    Args:
        values: one a person; NaN is left out.
    """
    kept = values.to_numpy(float)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return {"people": 0}
    found: dict[str, float | int] = {"people": len(kept), "mean": round(float(kept.mean()), 4)}
    if len(kept) >= SMALLEST_GROUP:
        draws = np.random.default_rng(seed).integers(len(kept), size=(N_DRAWS, len(kept)))
        low, high = np.quantile(kept[draws].mean(axis=1), (0.025, 0.975))
        found |= {"low": round(float(low), 4), "high": round(float(high), 4)}
    return found


def by_group(
    table: pd.DataFrame,
    groups: dict[str, tuple[str, tuple[float, ...] | None]],
    measures: dict[str, Callable[[pd.DataFrame], float]],
) -> dict[str, dict[str, dict[str, dict[str, float | int]]]]:
    """Figures by grouping, group and measure.

    Args:
        table: rows with `identity` and the groups' columns.
        measures: of the rows of one person in one group.
    """
    found = {"all": {"everyone": _figures(table, measures)}}
    for grouping, (column, edges) in groups.items():
        label = labels(table[column], edges)
        present = label.dropna().unique()
        order = (
            sorted(present) if edges is None else [name for name in labels(pd.Series(edges[:-1], dtype=float), edges) if name in present]
        )
        found[grouping] = {str(name): _figures(table[(label == name).fillna(False)], measures) for name in order}
    return found


def _figures(table: pd.DataFrame, measures: dict[str, Callable[[pd.DataFrame], float]]) -> dict[str, dict[str, float | int]]:
    people = [rows for _, rows in table.groupby("identity")]
    return {name: figure(pd.Series([measure(rows) for rows in people], dtype=float)) for name, measure in measures.items()}
