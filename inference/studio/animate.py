"""A request carried out: sources read, frames made, the output written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.contracts import ClipError
from curation.wording import duration
from inference.driving.driving import Driving
from inference.driving.footage import open_footage
from inference.driving.picture import is_picture
from inference.driving.reference import Reference, load_reference
from inference.driving.sound import open_sound
from inference.driving.template import save_template
from inference.output.video_writer import check_output, open_output
from inference.pipeline.animation import Animation, Progress, Report, frames_of_sound
from inference.sampling.samplers import make_scheduler
from inference.studio.request import Request
from manifests import UserError

if TYPE_CHECKING:
    from inference.pipeline import MegActorSigmaPipeline

Say = Callable[[str], None]


def animate(
    pipe: MegActorSigmaPipeline,
    request: Request,
    say: Say = lambda line: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Makes the output of a request.

    Raises:
        UserError: what the user can put right, in one line. Nothing of the output is left then, nor after an interruption.
    """
    check_output(Path(request.out))
    pipe.require_audio_layers(request.audio)
    reference = read_reference(pipe, request.reference)
    for note in reference.notes:
        say(f"note: {note}")
    sound = open_sound(request.audio) if request.audio else None
    driving = None
    try:
        if request.driving:
            driving = read_driving(pipe, request, reference, None if sound is None else sound.duration_s)
            reference = driving.reference
        pipe.scheduler = make_scheduler(request.sampler_name)
        animation = pipe.prepare(reference, driving, sound, on_progress=on_progress, **request.sampling())
        report = animation.report
        for note in [*report.driving.get("notes", ()), *report.warnings]:
            say(f"note: {note}")
        say(
            f"{report.mode}: {animation.num_frames} frames at {float(animation.fps):.5g} a second ({animation.duration_s:.2f} s), "
            f"preset {request.preset}, {report.settings['num_inference_steps']} steps, {report.evaluations} windows to evaluate"
        )
        with open_output(request.out, animation.fps, animation.num_frames, animation.sound, provenance(request, report)) as writer:
            for rgb in _pictures(request, reference, driving, animation):
                writer.write(rgb)
    finally:
        if driving is not None:
            driving.close()
    say(f"{request.out}: {duration(round(report.seconds))}, {report.seconds_per_frame:.3g} s a frame")
    return report


def read_reference(pipe: MegActorSigmaPipeline, source: str) -> Reference:
    """The portrait; of a video its first frame."""
    picture: Any = source
    if Path(source).is_file() and not is_picture(source):
        picture = _first_frame(source)
    return load_reference(picture, pipe.landmarks, pipe.settings.size_px, pipe.settings.crop_scale)


def _first_frame(path: str) -> np.ndarray:
    from curation.media import random_frames

    try:
        return np.array(random_frames(path, [0.0])[0])
    except ClipError as error:
        raise UserError(f"{path}: neither a picture nor a video that can be read: {error.message}") from None


def read_driving(pipe: MegActorSigmaPipeline, request: Request, reference: Reference, sound_s: float | None) -> Driving:
    """The driver's patches; a single picture is shown for as long as the sound lasts, or for `still_s`."""
    fps = Fraction(pipe.settings.fps).limit_denominator(1001)
    still_frames = frames_of_sound(request.still_s if sound_s is None else sound_s, fps)
    footage = open_footage(request.driving, pipe.landmarks, still_frames=still_frames, still_fps=fps)
    if request.save_template:
        save_template(footage, request.save_template)
    return Driving(footage, reference, request.driving_options(pipe.settings.crop_scale), pipe.settings.size_px)


def provenance(request: Request, report: Report) -> dict[str, Any]:
    """What goes into the file: that it is synthetic, and what it was made with. Names of files, not where they lie."""
    try:
        code = version("megactor-sigma-open")
    except PackageNotFoundError:
        code = "unknown"
    sources = {name: Path(path).name for name in ("reference", "driving", "audio") if (path := getattr(request, name))}
    tree = report.to_tree()
    kept = {name: tree[name] for name in ("mode", "seed", "settings", "model")}
    return {"synthetic": True, "generator": f"megactor-sigma-open {code}", **sources, "preset": request.preset, **kept}


def _pictures(request: Request, reference: Reference, driving: Driving | None, animation: Animation) -> Iterator[np.ndarray]:
    if request.paste_back:
        from inference.output.paste_back import PasteBack

        paste_back = PasteBack(reference)
        for rgb in animation.frames():
            yield paste_back(rgb)
    elif request.side_by_side:
        shown = repeat(None) if driving is None else driving.driver_pictures()
        for rgb, driver in zip(animation.frames(), shown, strict=driving is not None):
            yield np.concatenate([picture for picture in (reference.crop, driver, rgb) if picture is not None], axis=1)
    else:
        yield from animation.frames()
