"""`python -m benchmarks.truth.ablations`: which of the paper's cures stop a leak that the training data teach?

Renders people whose lids and brows follow the mouth (correlation 0.8), trains every recipe on them with the same steps, samples and seeds,
from nothing or from given weights (--init), and measures each on held-out people whose factors are independent. Every part of it is kept in
OUT: a killed run continues, in the middle of a training too. --plan prints what it would do and how long that takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.kept import Kept
from benchmarks.truth.conditions import CONDITIONS, UNGUIDED
from benchmarks.truth.drivers import held_out
from benchmarks.truth.measure import measure
from benchmarks.truth.models import Cast
from benchmarks.truth.page import ABLATIONS, committed, write_page
from benchmarks.truth.recipes import RECIPES, SIZES, START, first_stage
from benchmarks.truth.rows import table
from curation.command_line import INTERRUPTED
from manifests import UserError
from manifests.atomic import put
from training.loop.faults import StoppedError

CONFIG = "embedded-weights"
STAGES = (1, 2)
TRAINING_SEED = 0  # of the set of people
CLIP_S, CLIP_SIDE_PX = 2.0, 192  # of the people in training, as of those that the packaged weights saw
DOCS = Path(__file__).resolve().parents[2] / "docs"
# A leak and its cure; the first pair that a table has.
PICTURED = (("eyes-no-masks", "eyes"), ("video-no-masks", "video"), ("video-no-masks", "video-no-eq2"))
SAMPLES_PER_S = {"embedded": 15.0, "small": 30.0, "coarse": 38.0, "narrow": 60.0, "64px": 95.0}  # in training, by size, of one core
CLIPS_PER_S, ANSWER_S = 0.3, 6.0  # of one core; an answer is of a person, condition and model


@dataclass(frozen=True)
class Plan:
    """What decides every figure, besides recipes and seeds.

    Attributes:
        init: a pipeline of stage 2 that every recipe continues; None: each trains from nothing.
        steps: of stage 2 where `init` is given; otherwise of stage 1 (video alone), or of both.
        lr: peak learning rate; None: the configuration's.
        people: in training, of `clips` clips each.
        correlation: of lids and brows with the mouth in training.
        tested: people of the test, held out; `known`: the first of those in training, in acts that are not.
        seconds: of the clips of the test.
        conditions: of `CONDITIONS`, in which the models are measured.
        settings: dotted, of every row's training.

    Raises:
        UserError: steps that do not fit.
    """

    init: str | None
    steps: tuple[int, ...]
    lr: float | None
    people: int
    correlation: float
    tested: int
    seconds: float
    batch_size: int
    conditions: tuple[str, ...]
    clips: int = 1
    known: bool = False
    size: str = "embedded"
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= (1 if self.init else len(STAGES)):
            wanted = "one number, of stage 2, beside --init" if self.init else "one number, of stage 1, or two, of stages 1 and 2"
            raise UserError(f"--steps {' '.join(map(str, self.steps))}: {wanted}")
        if self.init and self.size != "embedded":
            raise UserError(f"--size {self.size}: another model, which cannot continue given weights; leave it out, or --init")
        if self.known and self.tested > self.people:
            raise UserError(f"--known: the test has {self.tested} people (--tested), the training {self.people} (--people)")

    @property
    def stages(self) -> tuple[int, ...]:
        return STAGES[-1:] if self.init else STAGES[: len(self.steps)]

    def require_trains(self, recipes: Sequence[str]) -> None:
        """
        Raises:
            UserError: a recipe does not go with the plan.
        """
        fixed = [name for name in recipes if self.init and RECIPES[name].other_model]
        if fixed:
            raise UserError(f"--recipes {' '.join(fixed)}: another model, which cannot continue given weights; leave it out, or --init")
        masked = [name for name in recipes if self.size == "64px" and RECIPES[name].attention_masked]
        if masked:
            raise UserError(
                f"--recipes {' '.join(masked)}: at 64 px Eq. 2 hides every token from the mouth; --size narrow, or recipes without"
            )
        deaf = [name for name in recipes if STAGES[-1] not in self.stages and RECIPES[name].hears]
        if deaf:
            raise UserError(f"--recipes {' '.join(deaf)}: sound is learnt in stage 2; give --steps two numbers, or recipes of video alone")

    def cast(self) -> Cast:
        """Who is shown in the test."""
        return Cast(held_out(self.tested, self.seconds, seed=TRAINING_SEED) if self.known else held_out(self.tested, self.seconds))

    def hours(self, models: int) -> float:
        """On one core."""
        training = models * sum(self.steps) * self.batch_size / SAMPLES_PER_S[self.size]
        return (training + models * self.tested * len(self.conditions) * ANSWER_S + self.people * self.clips / CLIPS_PER_S) / 3600


def data_of(plan: Plan, out: Path) -> Path:
    """The manifest's folder of the correlated world, rendered and curated where it is not there.

    Raises:
        UserError: another set lies in `out`.
    """
    from curation.config import load_config
    from curation.job.run import run as curate
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings

    people, curated = out / "people", out / "curation"
    settings = PeopleSettings(
        count=plan.people, clips_per_person=plan.clips, seconds=CLIP_S, size_px=CLIP_SIDE_PX, seed=TRAINING_SEED,
        lid_mouth_correlation=plan.correlation,
    )  # fmt: skip
    render_people(people, settings, executor="inprocess")
    curate("people", str(people), str(curated), load_config("embedded"))
    return curated


def with_other_drivers(manifest: Path, out: Path) -> Path:
    """A manifest of the same clips that names videos of other people with the same motion, made where it is not there.

    Raises:
        UserError: what `python -m training augment` raises.
    """
    from inference.models.components import load_inference_config
    from training.offline.variants import VariantConfig, make_variants

    settings = load_inference_config("embedded")
    look = VariantConfig(size_px=CLIP_SIDE_PX, crop_scale=settings.crop_scale, fps=settings.fps, cached_frames=0)
    make_variants(look, "rerender", str(manifest), str(out), where="", executor="inprocess")
    return out


def trained(plan: Plan, out: Path, recipe: str, seed: int) -> Path:
    """The run of a recipe's last stage."""
    return _run_of(out, recipe, seed, plan.stages[-1])


def _run_of(out: Path, recipe: str, seed: int, stage: int) -> Path:
    return out / "models" / f"{first_stage(recipe) if stage == 1 else recipe}-{seed}" / f"s{stage}"


def train_model(plan: Plan, out: Path, recipe: str, seed: int, manifest: Path) -> Path:
    """A run's folder; continues what a kill left. Recipes share a first stage that is the same, and a cache of latents where they cut
    frames alike.

    Raises:
        UserError: what training raises.
    """
    from training.config import load_training_config
    from training.offline.cache_job import cache_latents
    from training.run import train

    before = plan.init
    latents = out / ("latents-rerendered" if RECIPES[recipe].rerendered else "latents")
    if RECIPES[recipe].rerendered:
        manifest = with_other_drivers(manifest, out / "rerendered")
    for stage, steps in zip(plan.stages, plan.steps, strict=True):
        settings = (
            *RECIPES[recipe].overrides(SIZES[plan.size], stage),
            f"steps={steps}",
            f"seed={seed}",
            f"batch_size={plan.batch_size}",
            "data.split=all",
        )
        settings += ("videos.at_end=false", "videos.every_steps=0", "validation.every_steps=0", "checkpoints.every_steps=100")
        settings += (f"optimiser.warmup_steps={min(50, steps // 4)}", *([f"optimiser.lr={plan.lr:g}"] if plan.lr else []))
        settings += plan.settings
        config = load_training_config(CONFIG, stage, settings)
        if not RECIPES[recipe].inference:
            cache = str(latents)
            whole = load_training_config(CONFIG, plan.stages[-1], settings)
            cache_latents(replace(whole, data=replace(whole.data, latent_cache=cache)), str(manifest), cache, executor="inprocess")
            config = replace(config, data=replace(config.data, latent_cache=cache))
        folder = _run_of(out, recipe, seed, stage)
        train(config, str(manifest), str(folder), init=before)
        before = str(folder)
    return trained(plan, out, recipe, seed)


def run(plan: Plan, out: Path, recipes: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """All rows, seed after seed, so that every recipe has one model before any has two.

    Raises:
        UserError: `out` holds another plan's, a recipe cannot continue the given weights, or what a part raises.
    """
    plan.require_trains(recipes)
    Kept(out / "plan.json").belong_to(about_of(plan))
    manifest, cast = data_of(plan, out), plan.cast()
    for seed in seeds:
        for name in recipes:
            if not (out / "truth" / f"{name}-{seed}" / "done").is_file():
                _measured(plan, out, cast, name, seed, str(train_model(plan, out, name, seed, manifest)))
            found = table(out / "truth", about_of(plan))
            put(out / "ablations.json", (json.dumps(found, indent=1) + "\n").encode())
            print(f"{name}, seed {seed}: {json.dumps(found['rows'][name])}", file=sys.stderr, flush=True)
        if plan.init:
            _measured(plan, out, cast, START, 0, plan.init)
    return table(out / "truth", about_of(plan))


def about_of(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, without a machine's paths."""
    tree = asdict(plan) | {"init": Path(plan.init).name if plan.init else None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in tree.items()}


def _measured(plan: Plan, out: Path, cast: Cast, name: str, seed: int, model: str) -> None:
    folder = out / "truth" / f"{name}-{seed}"
    measure(model, folder, cast, plan.seconds, parts=("response",), guidances=(UNGUIDED,), conditions=plan.conditions)
    put(folder / "done", b"")


def _to_docs(found: dict[str, Any], out: Path, plan: Plan) -> None:
    """The table beside those of other plans in docs/, its picture, and the page."""
    from benchmarks.truth.pictures import save_leak

    pair = next((pair for pair in PICTURED if set(pair) <= found["rows"].keys()), None)
    others = [one for one in committed(DOCS, ABLATIONS) or [] if one["about"] != found["about"]]
    if pair and not any("picture" in one for one in others):
        models = {name: trained(plan, out, name, found["rows"][name]["seeds"][0]) for name in pair}
        save_leak(models, plan.cast(), DOCS / "images" / "truth_ablations.jpg")
        found["picture"] = list(pair)
    put(DOCS / ABLATIONS, (json.dumps([*others, found], indent=1) + "\n").encode())
    write_page(DOCS)


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth.ablations", description=__doc__, formatter_class=plain)
    parser.add_argument("--out", type=Path, default=Path("outputs/truth-ablations"))
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--init", help="a pipeline of stage 2 that every recipe continues (inference/weights/embedded); else from nothing")
    parser.add_argument(
        "--steps",
        nargs="+",
        type=int,
        help="of stages 1 and 2 (1000 2000), of stage 1 alone for recipes of video (800), or of stage 2 beside --init (400)",
    )
    parser.add_argument("--lr", type=float, help="peak learning rate; the configuration's if not given")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--people", type=int, default=200, help="to train on")
    parser.add_argument("--clips", type=int, default=1, help="of each of them, 2 s long")
    parser.add_argument("--size", choices=list(SIZES), default="embedded", help="of the model; 64px trains five times as fast as embedded")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every row's training")
    parser.add_argument("--correlation", type=float, default=0.8, help="of lids and brows with the mouth in training; 0: none")
    parser.add_argument("--tested", type=int, default=12, help="people of the test, held out")
    parser.add_argument("--known", action="store_true", help="test the first people that were trained on, in acts that were not")
    parser.add_argument("--seconds", type=float, default=3.0, help="of their clips")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS), help="to measure in; both is needed")
    parser.add_argument("--plan", action="store_true", help="print the rows and the hours on one core, and end")
    parser.add_argument("--report", action="store_true", help="train and measure nothing: of what OUT holds already")
    parser.add_argument(
        "--docs", action="store_true", help="put the table into docs/truth_ablations.json, with a picture, and write docs/truth.md anew"
    )
    options = parser.parse_args(arguments)
    try:
        steps = options.steps or ([400] if options.init else [1000, 2000])
        plan = Plan(
            options.init, tuple(steps), options.lr, options.people, options.correlation, options.tested, options.seconds,
            options.batch_size, tuple(options.conditions), options.clips, options.known, options.size, tuple(options.set),
        )  # fmt: skip
        models = len(options.recipes) * len(options.seeds)
        print(f"{models} models, {sum(plan.steps):,} steps each: about {plan.hours(models):.1f} hours on one core", flush=True)
        if options.plan:
            for name in options.recipes:
                print(f"  {name}: {RECIPES[name].what}")
            return 0
        if options.report:
            Kept(options.out / "plan.json").belong_to(about_of(plan))
            found = table(options.out / "truth", about_of(plan))
        else:
            found = run(plan, options.out, options.recipes, options.seeds)
    except StoppedError as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return INTERRUPTED if stopped.interrupted else 1
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.docs:
        _to_docs(found, options.out, plan)
    return 0


if __name__ == "__main__":
    sys.exit(main())
