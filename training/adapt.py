"""A model adapted to one face: planted clips of that very portrait and of some other people, and minutes of training from the packaged
weights. The others show what planted clips of a portrait do not, a head that turns, so that it is not forgotten."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from manifests.atomic import put
from manifests.errors import UserError

CLIPS, CLIP_S = 6, 4.0
PEOPLE, PEOPLE_S, PEOPLE_SIDE_PX = 24, 2.0, 192  # the others, as what the packaged weights were trained on


def adapt(
    reference: str,
    out: str,
    model: str | None = None,
    steps: int = 300,
    people: int = PEOPLE,
    overrides: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> Path:
    """Makes clips of a portrait (`curation.samples.puppet`) and of others, curates them, trains on from a pipeline. Killed, the same call
    continues.

    Args:
        reference: the portrait, a picture with one face.
        out: folder of clips, curation and run.
        model: a pipeline's folder to start from; None is the packaged one.
        steps: optimiser steps.
        people: rendered people beside the portrait; 0 = the portrait alone.
        overrides: dotted settings of the training configuration.

    Returns:
        The adapted pipeline's folder.

    Raises:
        UserError: no picture or no face in it, no pipeline to start from, or another adaptation is writing to `out`.
    """
    from curation.config import load_config
    from curation.job.lock import hold
    from curation.job.run import run as curate
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings
    from curation.samples.puppet import puppet_clips
    from inference.driving.picture import read_picture
    from inference.models.components import PACKAGED
    from inference.pipeline.folder import read_pipeline_file
    from training.config import load_training_config
    from training.loop.run_folder import PIPELINE
    from training.run import train

    start = Path(model) if model is not None else PACKAGED / "embedded"
    settings, record = read_pipeline_file(start)
    folder = Path(out)
    clips, curated, run = folder / "clips", folder / "curation", folder / "run"
    if settings.model.copied_reference != "moved":
        raise UserError(f"{start} learns faces by heart: adapt the packaged one (leave out --model)")
    config, portrait = load_training_config("adapt", record.stage, (f"steps={steps}", *overrides)), read_picture(reference)
    with hold(folder):
        say(f"{CLIPS} clips of {reference}, {CLIP_S:g} s each, with planted speech and blinks")
        files = puppet_clips(portrait, clips, CLIPS, CLIP_S)
        shown = [(file, f"portrait {Path(reference).stem}") for file in files]
        if people:
            others = render_people(folder / "people", PeopleSettings(count=people, seconds=PEOPLE_S, size_px=PEOPLE_SIDE_PX), say=say)
            shown += [(file.video, file.take.identity) for file in others]
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("path", "identity"), *((file.relative_to(folder), who) for file, who in shown)])
        put(folder / "clips.csv", table.getvalue().encode())
        curate("folder", str(folder / "clips.csv"), str(curated), load_config("embedded"))
        train(config, str(curated), str(run), init=str(start), say=say)
    return run / PIPELINE
