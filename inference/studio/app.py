"""The browser app: portrait, driver and sound in; a live preview of the patches; the animation out. `python -m inference app`.

gradio loads only when the page is built.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.contracts import ClipError
from inference.driving.regions import REGION_CHOICES
from inference.driving.retarget import RETARGETS
from inference.studio.jobs import Jobs
from inference.studio.live import LivePages
from inference.studio.request import Request
from inference.studio.results import Results
from inference.studio.session import Studio
from manifests import UserError

if TYPE_CHECKING:
    from inference.pipeline.animation import Progress
    from inference.studio.loading import LoadOptions

MISTAKES = (UserError, ClipError)
EXAMPLES = Path(__file__).parent / "examples"
INSTALL_HINT = "the app needs gradio: pip install -c constraints.txt 'megactor-sigma-open[app]'"


def examples() -> list[list[str]]:
    """[portrait, driver] pairs of rendered people that the packaged model never saw."""
    pairs = (("portrait_1", "speaks"), ("portrait_2", "looks_round"), ("portrait_3", "speaks"))
    return [[str(EXAMPLES / f"{portrait}.jpg"), str(EXAMPLES / f"{driver}.mp4")] for portrait, driver in pairs]


def _page(session: Any) -> str:
    """Names a page that is open in a browser."""
    return str(session.session_hash)


def build(studio: Studio, presets: dict[str, str], results: Results | None = None) -> Any:
    """The page, a `gradio.Blocks`.

    Args:
        presets: name -> one line about it.
        results: where animations go; the caller closes it. None: a folder of the page's own, which stays.

    Raises:
        UserError: gradio is not installed.
    """
    try:
        import gradio as gr
    except ImportError:
        raise UserError(INSTALL_HINT) from None

    made, jobs, pages = results or Results(), Jobs(), LivePages(lambda still: studio.live(still))
    with gr.Blocks(title="MegActor-Σ", analytics_enabled=False, delete_cache=(86_400, 86_400)) as page:
        gr.Markdown(
            "# MegActor-Σ\nA portrait moved by a video, by speech, or by both. Animate only faces whose owners agreed, and say that the "
            f"result is synthetic.\n\n{studio.model_line[:1].upper()}{studio.model_line[1:]}."
        )
        with gr.Row():
            with gr.Column(scale=2):
                with gr.Row():
                    # no gr.Image: that one takes alpha and 16 bits away, and answers other files with a message of its own
                    portrait = gr.File(label="Portrait: picture or video", type="filepath", height=240, elem_id="portrait")
                    driver = gr.File(label="Driver: video, picture or motion template", type="filepath", height=240, elem_id="driver")
                with gr.Accordion("Take or paste the portrait", open=False):
                    taken = gr.Image(show_label=False, type="filepath", sources=["webcam", "clipboard"], height=240, elem_id="taken")
                sound = gr.Audio(label="Speech", type="filepath", sources=["upload", "microphone"], elem_id="speech", visible=studio.hears)
                motion = gr.Slider(
                    0,
                    2,
                    1,
                    step=0.05,
                    label="Head motion",
                    info="0 stills the head, 1 keeps the driver's; sets the three below",
                    elem_id="motion",
                )
                with gr.Row():
                    translation = gr.Slider(0, 2, 1, step=0.05, label="Shift", min_width=120, elem_id="translation")
                    roll = gr.Slider(0, 2, 1, step=0.05, label="Roll", min_width=120, elem_id="roll")
                    zoom = gr.Slider(0, 2, 1, step=0.05, label="Size", min_width=120, elem_id="zoom")
                audio_scale = gr.Slider(
                    0, 2, 1, step=0.05, label="Speech strength", info="how strongly sound moves the face", elem_id="audio-scale"
                )
                with gr.Row():
                    regions = gr.Radio(list(REGION_CHOICES), value="both", label="Driver's parts")
                    retarget = gr.Radio(list(RETARGETS), value="face", label="Place on the portrait")
                with gr.Row():
                    preset = gr.Dropdown(
                        [(f"{name}: {line}", name) for name, line in presets.items()],
                        value="fast" if "fast" in presets else None,
                        label="Preset",
                    )
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            with gr.Column(scale=3):
                gr.Markdown("Portrait, driver, warped driver, and the patches that the model sees")
                picture = gr.Image(show_label=False, interactive=False, buttons=["fullscreen", "download"], elem_id="preview")
                frame = gr.Slider(0, 1, 0, step=1, label="Frame", elem_id="frame")
                notes = gr.Markdown(elem_id="notes")
                with gr.Row():
                    output = gr.Radio(["beside the driver", "face only", "whole portrait"], value="beside the driver", label="Result")
                    go = gr.Button("Animate", variant="primary", elem_id="animate")
                    stop_button = gr.Button("Stop", elem_id="stop")
                result = gr.Video(label="Result", autoplay=True, elem_id="result")
                told = gr.Markdown(elem_id="told")
                with gr.Accordion("Live: the portrait follows your camera", open=False), gr.Row():
                    camera = gr.Image(label="Camera", sources=["webcam"], streaming=True, type="numpy", height=240, elem_id="camera")
                    follows = gr.Image(label="Portrait", interactive=False, format="jpeg", height=240, elem_id="live")
                seen = gr.Markdown(elem_id="live-told")

        def request(values: dict, out: str) -> Request:
            return Request.from_tree(
                {
                    "reference": values[portrait] or "",
                    "out": out,
                    "driving": values[driver],
                    "audio": values[sound],
                    "seed": int(values[seed] or 0),
                    "preset": values[preset] or None,
                    "audio_scale": values[audio_scale],
                    "translation": values[translation],
                    "roll": values[roll],
                    "zoom": values[zoom],
                    "regions": values[regions],
                    "retarget": values[retarget],
                    "side_by_side": values[output] == "beside the driver",
                    "paste_back": values[output] == "whole portrait",
                }
            )

        def show(values: dict, progress: Any = gr.Progress()) -> dict:  # noqa: B008  gradio's own convention
            if not (values[portrait] and values[driver]):
                return {picture: None, notes: "", frame: gr.Slider()}
            try:
                shown = studio.preview(
                    request(values, "preview"),
                    int(values[frame]),
                    lambda n, total: progress((n, total), desc="Finding the face", unit="frames"),
                )
            except MISTAKES as error:
                return {picture: None, notes: f"**{error}**", frame: gr.Slider()}
            lines = [f"{shown.n_frames} frames at {shown.fps:.5g} a second", *shown.notes]
            return {
                picture: shown.picture,
                notes: "\n".join(f"- {line}" for line in lines),
                frame: gr.Slider(maximum=max(1, shown.n_frames - 1)),
            }

        def ask(session: gr.Request) -> None:
            jobs.ask(_page(session))

        def stop(session: gr.Request) -> None:
            jobs.stop(_page(session))

        def animate(values: dict, session: gr.Request, progress: Any = gr.Progress()) -> dict:  # noqa: B008
            out, job = made.new("animation.mp4"), jobs.of(_page(session))

            def on_progress(done: Progress) -> None:
                progress(done.done / max(1, done.total), desc=f"{done.frames_out} frames out")

            try:
                wanted = request(values, str(out))
                if not wanted.driving and wanted.side_by_side:
                    wanted = replace(wanted, side_by_side=False)
                report = studio.generate(wanted, on_progress, job)
            except MISTAKES as error:
                return {result: None, told: f"**{error}**"}
            finally:
                jobs.end(_page(session), job)
            lines = [
                f"{report.mode}, {report.num_frames} frames, {report.duration_s:.2f} s; {report.seconds_per_frame:.3g} s a frame",
                *report.warnings,
            ]
            return {result: str(out), told: "\n".join(f"- {line}" for line in lines)}

        def live(rgb: Any, still: str | None, session: gr.Request) -> tuple:
            if rgb is None or not still:
                return gr.skip(), "Choose a portrait." if rgb is not None else ""
            try:
                shown = pages.push(_page(session), still, rgb)
            except MISTAKES as error:
                return gr.skip(), f"**{error}**"
            return (gr.skip() if shown is None else shown), ""

        for handler in (ask, stop, animate, live):
            handler.__annotations__["session"] = gr.Request  # a string until here, whose name gradio would not find
        inputs: set[Any] = {
            portrait,
            driver,
            sound,
            motion,
            translation,
            roll,
            zoom,
            audio_scale,
            regions,
            retarget,
            preset,
            seed,
            frame,
            output,
        }
        shown_in = [picture, notes, frame]
        settings = [s.change for s in (translation, roll, zoom, regions, retarget)]
        taken.change(lambda picture: picture, taken, portrait, queue=False, api_name=False)  # type: ignore[arg-type]  # gradio takes False, which its types leave out
        motion.input(lambda value: (value, value, value), motion, [translation, roll, zoom], queue=False)
        gr.on([portrait.change, driver.change], show, inputs, shown_in, concurrency_limit=1, concurrency_id="preview")
        gr.on(
            [*settings, frame.input],
            show,
            inputs,
            shown_in,
            trigger_mode="always_last",
            show_progress="hidden",
            concurrency_limit=1,
            concurrency_id="preview",
        )
        asked = go.click(ask, queue=False, api_name=False)  # type: ignore[arg-type]  # gradio takes False, which its types leave out
        asked.then(animate, inputs, [result, told], concurrency_limit=1)
        stop_button.click(stop, queue=False)
        camera.stream(
            live, [camera, portrait], [follows, seen], stream_every=0.04, time_limit=None, concurrency_limit=1, show_progress="hidden"
        )
        gr.Examples(examples(), [portrait, driver], label="Rendered people, never seen by the packaged model")
    return page


def launch(options: LoadOptions, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted or terminated; nothing is sent anywhere, no tunnel is opened, no file stays."""
    from inference.studio.presets import load_presets

    results = Results()
    os.environ["GRADIO_TEMP_DIR"] = str(results.folder)  # uploads lie there too; gradio takes it from nowhere else
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        page = build(Studio(options, say), {name: preset.description for name, preset in load_presets().items()}, results)
        import gradio as gr

        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # none from a font server
        try:
            page.launch(
                server_name=host, server_port=port or None, share=False, quiet=True, show_error=True, theme=theme, prevent_thread_lock=True
            )
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port}: {error}; --port names another") from None
        say(f"http://{host}:{page.server_port}  (Ctrl-C ends it)")
        page.block_thread()
    finally:
        results.close()
