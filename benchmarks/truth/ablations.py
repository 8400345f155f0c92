"""`python -m benchmarks.truth.ablations`: which of the paper's cures stop a leak that the training data teach?

Renders people whose lids and brows follow the mouth (correlation 0.8), trains every recipe on them with the same steps and seeds, and
measures each on held-out people whose factors are independent. Every part of it is kept in OUT: a killed run continues, in the middle of a
training too. --plan prints what it would do and how long that takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.truth.conditions import CONDITIONS
from benchmarks.truth.measure import measure, response_name
from benchmarks.truth.response import Calibration, Moments, Responses
from benchmarks.truth.summary import plain
from manifests import UserError
from manifests.atomic import put

CONFIG = "embedded-weights"
STAGES = (1, 2)
DOCS_FILE = Path(__file__).resolve().parents[2] / "docs" / "truth_ablations.json"
SAMPLES_PER_S, CLIPS_PER_S, MEASURE_S = 17.0, 0.25, 60.0  # of one core beside other work; the last a person and model

# The paper's: a third of eyes, mouth and both; 10, 20 and 70 % of the modalities. A row sets what is different.
PAPER = {
    "eyes_share": 0.3333333, "mouth_share": 0.3333333, "both_share": 0.3333334,
    "visual_share": 0.1, "audio_share": 0.2, "mixed_share": 0.7,
}  # fmt: skip
NO_DROPOUT = {"eyes_share": 0.0, "mouth_share": 0.0, "both_share": 1.0}


@dataclass(frozen=True)
class Recipe:
    """
    Attributes:
        modality: of `training.data.modality.ModalityConfig`, over `PAPER`.
        others: dotted settings of the training.
    """

    what: str
    modality: dict[str, object]
    others: tuple[str, ...] = ()

    def overrides(self) -> tuple[str, ...]:
        """Dotted settings of both stages."""
        modality = PAPER | self.modality
        return (*(f"data.modality.{name}={_yaml(value)}" for name, value in modality.items()), *self.others)


def _yaml(value: object) -> str:
    return json.dumps(value)


RECIPES = {
    "full": Recipe("the paper's recipe", {}),
    "no-dropout": Recipe("without face dropout: eyes and mouth always together", NO_DROPOUT),
    "no-masks": Recipe("without Eq. 2 and the masked loss", {"masked_stages": []}),
    "no-cures": Recipe("without face dropout, Eq. 2 and the masked loss", NO_DROPOUT | {"masked_stages": []}),
    "mixed-attention": Recipe("Eq. 2 in the attention of mixed samples too, their mouth still in the loss", {"mask_mixed_attention": True}),
    "all-paths": Recipe("the mask hides the eyes from all that the mouth may read, not one hop", {"mask_paths": "all"}),
    "33-33-33": Recipe("stage 2 with a third of each modality", {
        "visual_share": 0.3333333, "audio_share": 0.3333333, "mixed_share": 0.3333334}),
    "80-10-10": Recipe("stage 2 with 80 % video", {"visual_share": 0.8, "audio_share": 0.1, "mixed_share": 0.1}),
    "tight-patches": Recipe("patches are the box of each frame", {}, ("inference_overrides=[most_steps=2, patch_rule=frame]",)),
    "audio-norm": Recipe("normalised sound", {}, ("inference_overrides=[most_steps=2, model.audio_norm=true]",)),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        steps: of stages 1 and 2.
        people: in training; `tested` held out.
        correlation: of lids and brows with the mouth in training.
    """

    out: Path
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, int]
    people: int
    correlation: float
    tested: int
    seconds: float
    batch_size: int

    @property
    def hours(self) -> float:
        """On one core."""
        models = len(self.recipes) * len(self.seeds)
        training = models * sum(self.steps) * self.batch_size / SAMPLES_PER_S
        return (training + models * self.tested * MEASURE_S + self.people / CLIPS_PER_S) / 3600


def data_of(plan: Plan) -> Path:
    """The manifest's folder of the correlated world, rendered and curated where it is not there.

    Raises:
        UserError: another set lies in `out`.
    """
    from curation.config import load_config
    from curation.job.run import run as curate
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings

    people, curated = plan.out / "people", plan.out / "curation"
    render_people(people, PeopleSettings(count=plan.people, lid_mouth_correlation=plan.correlation))
    curate("people", str(people), str(curated), load_config("embedded"))
    return curated


def train_model(plan: Plan, recipe: str, seed: int, manifest: Path) -> Path:
    """A run's folder; continues what a kill left.

    Raises:
        UserError: what training raises.
    """
    from training.config import load_training_config
    from training.run import train

    folder = plan.out / "models" / f"{recipe}-{seed}"
    for stage, steps in zip(STAGES, plan.steps, strict=True):
        settings = (*RECIPES[recipe].overrides(), f"steps={steps}", f"seed={seed}", f"batch_size={plan.batch_size}", "videos.at_end=false")
        settings = (*settings, "videos.every_steps=0", "validation.every_steps=0", f"optimiser.warmup_steps={min(50, steps // 4)}")
        before = str(folder / f"s{stage - 1}") if stage > STAGES[0] else None
        train(load_training_config(CONFIG, stage, settings), str(manifest), str(folder / f"s{stage}"), init=before)
    return folder / f"s{STAGES[-1]}"


FIGURES = {  # column → condition, factor, signal, whether it is a leak
    "lips follow the mouth, r": ("both", "lips", "lips", False),
    "lids follow the eyes, r": ("eyes", "lids", "lids", False),
    "lips follow the sound, r": ("sound", "lips", "sound", False),
    "eyes alone: lids leak into lips, %": ("eyes", "lips", "lids", True),
    "eyes alone: brows leak into lips, %": ("eyes", "lips", "brows", True),
    "mouth alone: lips leak into lids, %": ("mouth", "lids", "lips", True),
    "sound: leaks into lids, %": ("sound", "lids", "sound", True),
    "sound and eyes: lids leak into lips, %": ("sound+eyes", "lips", "lids", True),
}


def row(figures: Sequence[dict[str, Any]], people: int, guidance: float = 1.0) -> dict[str, Any]:
    """A recipe's figures over people, each person's the mean over seeds.

    Args:
        figures: `Kept.values`, one a seed.
    """
    found: dict[str, Any] = {}
    read = [figures[0][f"reader/{k}"]["moments"] for k in range(people)]
    calibration = Calibration.of([Moments.from_tree(tree) for tree in read if tree])

    def responses(name: str) -> Responses | None:
        clips = [
            (k, Moments.from_tree(tree["moments"]))
            for kept in figures
            for k in range(people)
            if (tree := kept.get(response_name(name, guidance, k))) and tree["moments"]
        ]
        return Responses([clip for _, clip in clips], [k for k, _ in clips], calibration) if len(clips) > 1 else None

    all_of = {name: responses(name) for name in CONDITIONS}
    for column, (name, factor, signal, is_leak) in FIGURES.items():
        ours, whole = all_of[name], all_of["both"]
        if ours is None or whole is None:
            found[column] = {"mean": None, "low": None, "high": None, "people": 0}
            continue
        found[column] = plain(ours.leak(factor, signal, whole.own_response(factor, factor)) if is_leak else ours.r(factor, signal))
    return found


def run(plan: Plan) -> dict[str, Any]:
    """All rows, seed after seed, so that every recipe has one model before any has two."""
    manifest = data_of(plan)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in plan.recipes}
    table: dict[str, Any] = {}
    for seed in plan.seeds:
        for name in plan.recipes:
            model = train_model(plan, name, seed, manifest)
            done = measure(
                str(model), plan.out / "truth" / f"{name}-{seed}", plan.tested, plan.seconds, parts=("response",), guidances=(1.0,)
            )
            figures[name].append(done.kept.values)
            table[name] = {
                "what": RECIPES[name].what, "seeds": len(figures[name]), "steps": list(plan.steps), "people": plan.people,
                "correlation": plan.correlation, "figures": row(figures[name], plan.tested),
            }  # fmt: skip
            put(plan.out / "ablations.json", (json.dumps(table, indent=1) + "\n").encode())
            print(f"{name}, seed {seed}: {json.dumps(table[name]['figures'])}", file=sys.stderr, flush=True)
    return table


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth.ablations", description=__doc__, formatter_class=plain)
    parser.add_argument("--out", type=Path, default=Path("outputs/truth-ablations"))
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", nargs=2, type=int, default=[1000, 2000], help="of stages 1 and 2")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--people", type=int, default=200, help="to train on")
    parser.add_argument("--correlation", type=float, default=0.8, help="of lids and brows with the mouth in training; 0: none")
    parser.add_argument("--tested", type=int, default=12, help="held-out people")
    parser.add_argument("--seconds", type=float, default=3.0, help="of their clips")
    parser.add_argument("--plan", action="store_true", help="print the rows and the hours on one core, and end")
    parser.add_argument("--docs", action="store_true", help="write docs/truth_ablations.json, which `make truth ARGS=--docs` shows")
    options = parser.parse_args(arguments)
    plan = Plan(
        options.out, tuple(options.recipes), tuple(options.seeds), tuple(options.steps), options.people, options.correlation,
        options.tested, options.seconds, options.batch_size,
    )  # fmt: skip
    models = len(plan.recipes) * len(plan.seeds)
    print(f"{models} models, {sum(plan.steps):,} steps each: about {plan.hours:.1f} hours on one core", flush=True)
    if options.plan:
        for name in plan.recipes:
            print(f"  {name}: {RECIPES[name].what}")
        return 0
    try:
        table = run(plan)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.docs:
        put(DOCS_FILE, (json.dumps(table, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
