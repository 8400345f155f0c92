"""The paper's Table 3 in small: sound, video and both on held-out rendered people, by the evaluation's own code and statistics.

Distances of distributions rest on features that can be had here: a face-recognition network on single frames in FID's place, tracks of
landmarks over windows of 16 frames in FVD's. Columns whose networks are not on this machine say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept, digest_of_weights
from benchmarks.people.recognition import Recogniser
from benchmarks.truth.drivers import SEED
from benchmarks.truth.factors import brow_heights, head_tracks, lid_gaps
from benchmarks.truth.summary import number
from curation.landmarks import make_backend
from inference.evaluation.canonical import Canonicaliser
from inference.evaluation.controls import GROUND_TRUTH, RE_ENCODED, SHUFFLED, STATIC
from inference.evaluation.frechet import basic_interval, frechet_distance, resampled_deviations
from inference.evaluation.metrics.face import mouth_opening
from inference.evaluation.pairs import Pair, PairList
from inference.evaluation.statistics import FEWEST_IDENTITIES
from inference.evaluation.table import Table

SIDE_PX, SHORTEST_S = 192, 2.5  # lip sync is not read of less than two seconds
METHODS = {"A": ("A", "both"), "V": ("V", "both"), "A+V": ("A+V", "both"), "A+V, eyes": ("A+V", "eyes")}
"""Name → modality, and what of the driver is shown where it is; the last is what mixed samples of training see."""
CONTROLS = (GROUND_TRUTH, RE_ENCODED, STATIC, SHUFFLED)
COLUMNS = (
    "fid", "fvd", "lpips_alex", "sync_c", "sync_d", "lipsync_conf", "lipsync_offset_frames", "mouth_correlation", "eye_correlation",
    "lmd_mouth",
)  # fmt: skip
DISTANCES = {"frechet_face": "recognition features of every 5th frame", "frechet_motion": "tracks of lips, lids, brows and roll, 16 frames"}
EVERY_FRAMES, WINDOW_FRAMES = 5, 16
RESAMPLES = 200
Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """What the table rests on.

    Attributes:
        model: a pipeline's folder; None: the packaged one, or what was trained here.
        network: of face recognition; None leaves that distance out.
    """

    model: str | None
    out: Path
    people: int
    seconds: float
    preset: str
    network: Path | None
    device: str = "auto"


def figures(asked: Asked, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Renders, curates, answers and judges what is not there yet; the table as plain values.

    Raises:
        UserError: what a part raises.
    """
    from inference.evaluation.answer import answer
    from inference.evaluation.judge import Settings
    from inference.evaluation.run import evaluate
    from inference.evaluation.table import make_table
    from inference.studio.loading import LoadOptions, find_model

    model = find_model(asked.model)
    about = {
        "model": Path(model).name, "weights": digest_of_weights(Path(model)), "people": asked.people, "seconds": asked.seconds,
        "preset": asked.preset,
    }  # fmt: skip
    kept = Kept(asked.out / "features.json")
    kept.belong_to(about)
    pairs = benchmark(asked, say)
    folders = []
    for name, (modality, regions) in METHODS.items():
        folder = asked.out / "answers" / name.replace(", ", "-")
        options, settings = LoadOptions(model=asked.model, device=asked.device), {"preset": asked.preset, "regions": regions, "seed": 0}
        answer(pairs, modality, folder, options, settings, name=name, say=say)
        folders.append(folder)
    judged = asked.out / "evaluation"
    evaluate(folders, pairs, judged, Settings(size_px=SIDE_PX), say=say)
    answers = {
        name: {pair.pair_id: folder / f"{pair.pair_id}.mp4" for pair in pairs} for name, folder in zip(METHODS, folders, strict=True)
    }
    return {"about": about, **tree(make_table(judged)), "distances": distances(answers, pairs, kept, asked.network)}


def benchmark(asked: Asked, say: Callable[[str], None]) -> PairList:
    """Clips of people that nothing was trained on, speaking in time with their sound, as the evaluation's pairs."""
    from curation.config import load_config
    from curation.job.run import run as curate
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings
    from inference.evaluation.export import export_pairs
    from inference.evaluation.pairs import read_pairs

    people, curated, bench = (asked.out / name for name in ("people", "curation", "bench"))
    settings = PeopleSettings(count=asked.people, seconds=asked.seconds, size_px=SIDE_PX, seed=SEED, camera_faults=False)
    render_people(people, settings, say=say)
    curate("people", str(people), str(curated), load_config("embedded"), say=say)
    export_pairs(curated, "paper-like", bench, where="valid_frame_ratio > 0.9", size_px=SIDE_PX, say=say)
    return read_pairs(bench)


def tree(table: Table) -> dict[str, Any]:
    """Methods and controls by `COLUMNS`, their comparisons, and what could not be measured."""
    there = [name for name in COLUMNS if any(name in cells and np.isfinite(cells[name].mean) for cells in table.cells.values())]
    rows = {}
    for name, cells in table.cells.items():
        if name in (*METHODS, *CONTROLS):
            rows[name] = {column: _cell(cells[column].mean, cells[column].low, cells[column].high) for column in there if column in cells}
    compared = [
        {
            "first": one.first, "second": one.second, "metric": one.metric, **_cell(one.difference, one.low, one.high),
            "p": number(one.p_corrected),
        }
        for one in table.comparisons
        if one.metric in there
    ]  # fmt: skip
    missing = sorted(set(COLUMNS) - set(there))
    return {"pairs": table.n_pairs, "identities": table.n_identities, "rows": rows, "comparisons": compared, "not here": missing}


def distances(answers: dict[str, dict[str, Path]], pairs: PairList, kept: Kept, network: Path | None) -> dict[str, dict[str, Any]]:
    """Name of `DISTANCES` → method → distance with its interval over people, and the rows of features behind it.

    Args:
        answers: method → pair → video.
        kept: features of videos that were looked at before.
        network: of face recognition; None: `frechet_motion` alone.
    """
    recogniser = Recogniser(network) if network else None
    found: dict[str, dict[str, Any]] = {name: {} for name in DISTANCES if recogniser or name != "frechet_face"}
    with Canonicaliser(make_backend("facemesh"), SIDE_PX) as canonicaliser:
        for method, videos in answers.items():
            each = [(pair.identity, _kept_features(kept, canonicaliser, recogniser, pairs, pair, videos[pair.pair_id])) for pair in pairs]
            for name in found:
                rows = [(who, both[name]) for who, both in each if both is not None and len(both[name][0])]
                ours, real = (np.concatenate([both[side] for _, both in rows]) for side in (0, 1)) if rows else (np.zeros((0, 1)),) * 2
                people = [who for who, both in rows for _ in range(len(both[0]))]
                found[name][method] = distance(ours, real, people)
    return found


def distance(ours: np.ndarray, real: np.ndarray, people: Sequence[str]) -> dict[str, Any]:
    """Fréchet distance of (N, D) paired rows, in units of the real rows' total variance: a still answer at their mean is 1 away."""
    if len(ours) < 2:
        return {**_cell(np.nan, np.nan, np.nan), "rows": len(ours)}
    unit = np.sqrt(real.var(0, ddof=1).sum()) + 1e-12
    ours, real = ours / unit, real / unit
    measured, low, high = frechet_distance(ours, real), np.nan, np.nan
    if len(set(people)) >= FEWEST_IDENTITIES:
        low, high = basic_interval(measured, resampled_deviations(ours, real, people, resamples=RESAMPLES))
        low, high = max(0.0, low), max(0.0, high)
    return {**_cell(measured, low, high), "rows": len(ours)}


def motion_windows(points_px: np.ndarray) -> np.ndarray:
    """(N, 64): lips, lids, brows (eye distances) and roll (in ten degrees) over disjoint windows of 16 frames of (T, 68, 2) points; windows
    with a frame without a face are left out."""
    points = points_px.astype(float)
    seen = np.isfinite(points).all(axis=(1, 2))
    if not seen.any():
        return np.zeros((0, 4 * WINDOW_FRAMES))
    tracks = np.column_stack(
        [mouth_opening(points), lid_gaps(points), brow_heights(points), head_tracks(points, points[seen][0])[:, 0] / 10]
    )
    windows = [tracks[start : start + WINDOW_FRAMES].T.ravel() for start in range(0, len(tracks) - WINDOW_FRAMES + 1, WINDOW_FRAMES)]
    return np.array(windows).reshape(-1, 4 * WINDOW_FRAMES)


def _kept_features(
    kept: Kept, canonicaliser: Canonicaliser, recogniser: Recogniser | None, pairs: PairList, pair: Pair, video: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
    """(ours, real) rows of each distance, paired; None for an answer that is missing or cannot be judged."""
    from inference.evaluation.canonical import AnswerError

    if not video.is_file():
        return None
    key = f"{pair.pair_id} {hashlib.sha256(video.read_bytes()).hexdigest()[:12]} {'faces' if recogniser else ''}"

    def make() -> dict[str, Any] | None:
        try:
            real = canonicaliser.real(pairs.path(pair.real))
            ours = canonicaliser.answer(video, real)
        except AnswerError:
            return None
        return {name: [_rounded(side) for side in sides] for name, sides in _paired(ours, real, recogniser).items()}

    made = kept.get(key, make)
    return None if made is None else {name: (np.array(sides[0]), np.array(sides[1])) for name, sides in made.items()}


def _paired(ours: Any, real: Any, recogniser: Recogniser | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    count = min(len(ours), len(real))
    points = [clip.faces.points_px[:count] for clip in (ours, real)]
    windows = [motion_windows(one) for one in points]
    whole = np.isfinite(windows[0]).all(1) & np.isfinite(windows[1]).all(1) if len(windows[0]) == len(windows[1]) else np.zeros(0, bool)
    found = {"frechet_motion": tuple(one[whole] if len(whole) else one[:0] for one in windows)}
    if recogniser:
        both = [k for k in range(0, count, EVERY_FRAMES) if all(np.isfinite(one[k]).all() for one in points)]
        found["frechet_face"] = tuple(
            np.array([recogniser.embed(clip.frames[k], one[k].astype(float)) for k in both]).reshape(len(both), -1)
            for clip, one in zip((ours, real), points, strict=True)
        )
    return found  # type: ignore[return-value]


def _rounded(rows: np.ndarray) -> list[list[float]]:
    return [[float(f"{value:.5g}") for value in row] for row in rows]


def _cell(mean: float, low: float, high: float) -> dict[str, float | None]:
    return {"mean": number(mean), "low": number(low), "high": number(high)}
