"""A request carried out: sources read, frames made, the output written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from curation.wording import duration
from inference.driving.contracts import Footage
from inference.driving.template import save_template
from inference.output.layout import laid_out
from inference.output.video_writer import open_output, provenance
from inference.pipeline.animation import Animation, Progress, Report
from inference.studio.request import Request

if TYPE_CHECKING:
    from inference.pipeline import MegActorSigmaPipeline

SOURCES = ("reference", "driving", "audio")
Say = Callable[[str], None]


def animate(
    pipe: MegActorSigmaPipeline,
    request: Request,
    say: Say = lambda line: None,
    on_progress: Callable[[Progress], None] | None = None,
    footage: Footage | None = None,
) -> Report:
    """Makes the output of a request.

    Args:
        footage: `request.driving`, where it is open already.

    Raises:
        UserError: what the user can put right, in one line. Nothing of the output is left then, nor after an interruption.
    """
    with pipe.prepare(
        request.reference,
        request.driving if footage is None else footage,
        request.audio,
        request.sampling,
        request.options,
        generator=request.seed,
        on_progress=on_progress,
    ) as animation:
        _tell(animation, request.preset, say)
        if request.save_template and animation.sources.opened:
            save_template(animation.sources.opened.footage, request.save_template)
        report, sources = animation.report, animation.sources
        assert sources.portrait is not None  # read from a file, not given as the model's own picture
        about = provenance({name: getattr(request, name) for name in SOURCES}, request.preset, report.to_tree())
        with open_output(request.out, animation.fps, animation.num_frames, animation.sound, about) as writer:
            layout = {"side_by_side": request.side_by_side, "paste_back": request.paste_back}
            for rgb in laid_out(animation.frames(), sources.portrait, sources.opened, **layout):
                writer.write(rgb)
    assert report.seconds is not None  # every frame is out
    say(f"{request.out}: {duration(round(report.seconds))}, {report.seconds_per_frame:.3g} s a frame")
    return report


def _tell(animation: Animation, preset: str, say: Say) -> None:
    report, portrait = animation.report, animation.sources.portrait
    for note in [*(portrait.notes if portrait else ()), *report.driving.get("notes", ()), *report.warnings]:
        say(f"note: {note}")
    used = report.settings  # the preset's, within the model's own limits
    mouth = "" if used.mouth_guidance_scale is None else f", of the mouth {used.mouth_guidance_scale:g}"
    sound = "" if used.audio_guidance_scale is None or "A" not in report.mode else f", of sound {used.audio_guidance_scale:g}"
    say(
        f"{report.mode}: {animation.num_frames} frames at {float(animation.fps):.5g} a second ({animation.duration_s:.2f} s), "
        f"preset {preset}, {used.num_inference_steps} steps, guidance {used.guidance_scale:g}{mouth}{sound}, "
        f"{report.evaluations} windows to evaluate"
    )
