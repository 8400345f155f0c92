"""`python -m curation train-lipsync MANIFEST`: train the landmark lip-sync network from any manifest of speaking clips.

Features are computed once, towers are cross-validated by identity, then trained on everything. Everything that takes long is kept in the
output directory, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import manifests
from curation.job.lock import hold
from curation.lipsync.evaluate import ClipResult, evaluate, summarise, table
from curation.lipsync.features import VIDEO_HZ
from curation.lipsync.footage import FEATURES_VERSION, Footage, collect_footage
from curation.lipsync.model_card import model_card
from curation.lipsync.towers import Towers, WeightsError, load_towers, save_towers
from manifests.atomic import atomic_path

if TYPE_CHECKING:
    from curation.lipsync.fit import Recipe

WEIGHTS_FILE = "landmark_sync.safetensors"


@dataclass(frozen=True)
class Plan:
    """What a training run is determined by, besides the footage."""

    where: str
    evaluate_where: str
    folds: int
    seed: int
    recipe: Recipe


def train_lipsync(
    manifest: str | Path,
    out_dir: str | Path,
    *,
    also: Sequence[str | Path] = (),
    where: str = "",
    evaluate_where: str = "duration_ms >= 4000",
    folds: int = 5,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[str], None] = print,
) -> str:
    """Train on a manifest's speaking clips; writes `landmark_sync.safetensors`, `MODEL_CARD.md` and `report.json` into `out_dir`.

    Args:
        manifest: a curation run's directory (its landmarks are read too), or the manifest file in it; sampled at 25 Hz.
        also: further runs to learn from, rendered people for instance; their clips are in every fold's training and are not judged.
        where: a pandas query that chooses the clips to learn from; empty = all that were scored and have sound.
        evaluate_where: a query that chooses, among those, the clips on which the cross-validation measures.
        folds: of the cross-validation; the clips of one identity are all in one fold. 0 = none.
        steps: optimiser steps; None = the recipe's.
        progress: takes one line of text at a time.

    Returns:
        What was achieved, as text.

    Raises:
        manifests.UserError: torch is missing, or the manifest holds nothing to train on.
    """
    if importlib.util.find_spec("torch") is None:
        raise manifests.UserError("training needs torch: run `make setup-train`, or `pip install -e '.[train]'` in the environment")
    from curation.lipsync.fit import Recipe

    recipe = Recipe(steps=steps) if steps else Recipe()
    plan = Plan(where, evaluate_where, folds, seed, recipe)
    with hold(Path(out_dir)):
        return _train(manifest, Path(out_dir), also, plan, progress)


def _train(manifest: str | Path, out: Path, also: Sequence[str | Path], plan: Plan, progress: Callable[[str], None]) -> str:
    folds, seed = plan.folds, plan.seed
    found = {clip.clip_id: clip for run in (manifest, *also) for clip in collect_footage(run, plan.where, out / "features", progress)}
    clips = [found[clip_id] for clip_id in sorted(found)]
    people = len({clip.identity for clip in clips})
    if people < max(2, folds):
        raise manifests.UserError(f"{people} people in {manifest} are too few for {folds} folds; --folds 0 trains without a check")
    summary = cross_validate(clips, _evaluated(manifest, clips, plan.evaluate_where), plan, out, progress) if folds else {"clips": 0}
    towers = _fitted(clips, plan, f"all-seed{seed}", out, progress)
    towers = replace(towers, name=f"landmark-sync-{_weights_digest(towers)}")
    facts = footage_facts(clips) | {"manifests": 1 + len(also)}
    save_towers(out / WEIGHTS_FILE, towers, {"footage": json.dumps(facts), "seed": str(seed)})
    report = {"name": towers.name, "footage": facts, "plan": asdict(plan), "cross_validation": summary, "clips": [c.key for c in clips]}
    _write(out / "report.json", json.dumps(report, indent=1))
    _write(out / "MODEL_CARD.md", model_card(towers, facts, summary, asdict(plan)))
    return f"{table(summary)}\n{towers.name}: {out / WEIGHTS_FILE}, {out / 'MODEL_CARD.md'}, {out / 'report.json'}"


def cross_validate(clips: Sequence[Footage], evaluated: Sequence[Footage], plan: Plan, out: Path, say: Callable[[str], None]) -> dict:
    """Identity-wise: every evaluated clip is judged by towers that saw nobody of its fold. The summary of `evaluate.summarise`."""
    results: list[ClipResult] = []
    for number, people in enumerate(deal_identities(sorted({clip.identity for clip in evaluated}), plan.folds)):
        seen = [clip for clip in clips if clip.identity not in people]
        towers = _fitted(seen, plan, f"fold{number}-seed{plan.seed}", out, say)
        results += evaluate(towers, [clip for clip in evaluated if clip.identity in people])
    return summarise(results)


def deal_identities(identities: Sequence[str], folds: int) -> list[set[str]]:
    """People dealt to folds in the order of a hash of their names, so that folds are of equal size and do not hang on file order."""
    order = sorted(identities, key=lambda name: hashlib.blake2b(name.encode()).digest())
    return [set(order[number::folds]) for number in range(folds)]


def footage_facts(clips: Sequence[Footage]) -> dict[str, float]:
    frames = sum(clip.n_frames for clip in clips)
    return {"clips": len(clips), "identities": len({c.identity for c in clips}), "minutes": round(frames / VIDEO_HZ / 60, 1)}


def _evaluated(manifest: str | Path, clips: Sequence[Footage], where: str) -> list[Footage]:
    table_ = manifests.load(manifest)
    chosen = set((table_.query(where) if where else table_).clip_id)
    return [clip for clip in clips if clip.clip_id in chosen]


def _fitted(clips: Sequence[Footage], plan: Plan, name: str, out: Path, say: Callable[[str], None]) -> Towers:
    """Trained towers; taken from `out/towers` if the same clips were trained on in the same way before."""
    from curation.lipsync.fit import fit

    text = json.dumps([FEATURES_VERSION, plan.seed, asdict(plan.recipe), [clip.clip_id for clip in clips]])
    path = out / "towers" / f"{name}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}.safetensors"
    if path.exists():
        try:
            return load_towers(path)
        except WeightsError as error:
            say(f"trained again: {error}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        towers = fit(clips, plan.recipe, plan.seed, name, say)
    except ValueError as error:
        raise manifests.UserError(str(error)) from error
    save_towers(path, towers, {})
    return towers


def _weights_digest(towers: Towers) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for conv in towers.mouth.convs + towers.sound.convs:
        digest.update(np.ascontiguousarray(conv.weight).tobytes() + conv.bias.tobytes())
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
