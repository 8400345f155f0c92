"""`python -m inference`: animate one portrait, many, or in the browser. Mistakes of the user's end in one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from curation.command_line import FiniteRange, LocalPath, run_command, say
from inference.evaluation.cli import run as evaluate
from manifests import UserError


def _options(*options: Any) -> Any:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model_options = _options(
    click.option("--model", help="A run's folder, a pipeline's folder or a Hub id.  [default: runs/s3, s2, s1, from `make train`]"),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps. Auto says what it took."),
    click.option("--dtype", default="auto", show_default=True, help="auto (bfloat16 on a GPU, else float32), float32, bfloat16, float16."),
    click.option("--compile", "compiled", is_flag=True, help="torch.compile every block: a slow start, then faster; for long videos."),
    click.option("--offload", default="none", show_default=True, help="none, vae or model: what leaves the GPU while it does not work."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of the pipeline, e.g. codec.path=models/vae."),
)

AMPLITUDE = (
    click.option(
        "--motion", type=float, default=1.0, show_default=True, help="How much of the driver's head motion to keep: 0 … 2 (Eq. 4)."
    ),
    click.option("--translation", type=float, help="The same for the head's shift alone."),
    click.option("--roll", type=float, help="The same for its turn in the picture's plane."),
    click.option("--zoom", type=float, help="The same for its size."),
    click.option("--scale-mode", default="geometric", show_default=True, help="geometric, or keep the zoom as the paper prints Eq. 4."),
    click.option("--regions", default="both", show_default=True, help="What of the driver is shown: eyes, mouth, both, none."),
    click.option("--retarget", default="face", show_default=True, help="How its face is laid over the portrait's: face, box, none."),
    click.option("--missing", default="hold", show_default=True, help="Driver's frames without a face: hold, skip, error."),
)
amplitude_options = _options(*AMPLITUDE)
sampling_options = _options(
    click.option("--preset", default="balanced", show_default=True, help="paper, balanced or fast (configs/inference/presets.yaml)."),
    click.option("--audio-scale", type=float, default=1.0, show_default=True, help="How strongly sound moves the face: 0 … 2 (Eq. 3)."),
    *AMPLITUDE,
    click.option("--still-s", type=float, default=4.0, show_default=True, help="How long a single driving picture is shown."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the noise; the same seed gives the same video."),
    click.option("--steps", "num_inference_steps", type=int, help="Solver steps, instead of the preset's."),
    click.option("--guidance-scale", type=float, help="Guidance over all conditions; 1 is none and costs half."),
    click.option("--audio-guidance-scale", type=float, help="A guidance of its own for sound; costs one more row a window."),
    click.option("--guidance-interval", type=(float, float), help="Fractions of the steps between which guidance acts, e.g. 0 0.8."),
    click.option("--sampler", help="dpmsolver++, unipc, ddim, euler, ancestral (the model's own variance; wants 100 steps)."),
    click.option("--window-overlap", type=int, help="Frames that neighbouring windows of 16 share."),
    click.option("--window-shift", type=int, help="Frames by which windows move from step to step."),
    click.option("--window-batch", type=int, default=1, show_default=True, help="Windows in one model call."),
    click.option("--step-cache", type=float, help="Skip blocks that change less than this, e.g. 0.1; with --window-shift 0."),
    click.option("--side-by-side", is_flag=True, help="Portrait, driver and result beside each other."),
    click.option("--paste-back", is_flag=True, help="Put the animated face back into the whole portrait."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
def cli() -> None:
    """Animate a portrait by video, by speech, or by both.

    \b
    python -m inference animate -r me.png -d you.mp4 -o out.mp4                     eyes and mouth of a video
    python -m inference animate -r me.png -a speech.wav -o out.mp4                  speech
    python -m inference animate -r me.png -d you.mp4 -a speech.wav -o out.mp4 \\
        --audio-scale 1.5 --motion 0.5 --preset fast                                both, amplitudes, a faster preset
    python -m inference template you.mp4 you.safetensors                            keep a driver's motion, without its face
    python -m inference batch pairs.jsonl --out outputs/batch                       many, resumable
    python -m inference live -r me.png --camera 0 --port 0                          what a camera shows now

    The model makes people appear to do and say what they did not. Animate only faces whose owners agreed, and say that it is synthetic.
    """


@cli.command()
@click.option("-r", "--reference", required=True, help="The portrait: a picture, or a video of which the first frame is taken.")
@click.option("-d", "--driving", help="A video, a picture or a motion template (.safetensors).")
@click.option("-a", "--audio", help="A sound or video file.")
@click.option(
    "-o",
    "--out",
    default="out.mp4",
    show_default=True,
    type=LocalPath(),
    help=".mp4, .gif, or a name without suffix for a folder of PNGs.",
)
@click.option("--report", "report_file", help="Write what was done as JSON.")
@click.option("--save-template", metavar="FILE", help="Also keep the driver's motion in FILE.safetensors, to use as -d.")
@sampling_options
@model_options
def animate(report_file: str | None, **options: Any) -> None:
    """Make one video: as many frames and as long as the driver, its sound kept; by sound alone, 25 frames a second."""
    from inference.studio.request import Request

    load_options = _load_options(options)
    request = Request.from_tree(_without_none(options))
    _check_sources(request)
    _check_report(report_file, (request.reference, request.driving, request.audio), (request.out, request.save_template))
    _keep_model(load_options.model, (request.out, request.save_template, report_file))
    from inference.driving.looking import look_at

    look_at(request.reference, request.driving, request.audio)
    from inference.studio.animate import animate as run
    from inference.studio.loading import load
    from inference.studio.progress import ProgressLine

    report = run(load(load_options, say), request, say, ProgressLine())
    if report_file:
        _write_json(Path(report_file), report.to_tree())
    click.echo(request.out)


@cli.command()
@click.argument("pairs", type=LocalPath())
@click.option("--out", required=True, type=LocalPath(), help="Directory for ID.mp4, rows/ID.json and results.jsonl.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Ray actors, a GPU each; 0 is one by one, here.")
@sampling_options
@model_options
def batch(pairs: str, out: str, workers: int, **options: Any) -> None:
    """Animate every line of PAIRS, a JSONL file; continues where it was killed, tries failed lines again.

    \b
    {"id": "anna-1", "reference": "anna.png", "driving": "you.mp4", "audio_scale": 1.5}
    {"id": "anna-2", "reference": "anna.png", "audio": "speech.wav", "preset": "fast"}

    Paths count from the list's folder. Options of the command hold for every line that does not say otherwise. A pair list of the
    evaluation (python -m inference.evaluation pairs) is taken as it is.
    """
    from inference.studio.batch import RESULTS, run_batch

    load_options = _load_options(options)
    count = run_batch(pairs, out, load_options, _without_none(options), workers, say)
    say(f"{count.done} made, {count.failed} failed, {count.kept} were there")
    click.echo(Path(out) / RESULTS)
    if count.failed and not count.done + count.kept:
        sys.exit(1)


@cli.command()
@click.argument("driving", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--lossless", is_flag=True, help="PNG patches: the video's to the last bit, ten times as large.")
@click.option("--landmarks", default="facemesh", show_default=True, help="facemesh or dwpose.")
def template(driving: str, out: str, lossless: bool, landmarks: str) -> None:
    """Keep what of a driver moves a portrait (patches of eyes and mouth, landmarks, sound) in one safetensors file."""
    from curation.landmarks import make_backend
    from inference.driving.opening import open_footage
    from inference.driving.template import TEMPLATE_SUFFIX, save_template
    from manifests.atomic import check_place, refuse_source

    if Path(out).suffix != TEMPLATE_SUFFIX:
        raise UserError(f"{out}: a template's name ends in {TEMPLATE_SUFFIX}")
    refuse_source(out, [driving])
    check_place(out)
    save_template(open_footage(driving, make_backend(landmarks)), out, lossless=lossless)
    click.echo(out)


@cli.command()
@click.option("-r", "--reference", required=True, help="The portrait.")
@click.option("-d", "--driving", required=True, help="A video, a picture or a motion template (.safetensors).")
@click.option("-o", "--out", default="preview.png", show_default=True, type=LocalPath(), help="PNG to write.")
@click.option("--frames", type=click.IntRange(1, 64), default=4, show_default=True, help="Rows, spread over the driver.")
@click.option("--size-px", type=click.IntRange(64, 1024), default=256, show_default=True, help="Side of each picture.")
@click.option("--model", help="Whose crop is shown, as animate's.  [default: the trained one's; before that, the embedded profile's]")
@amplitude_options
def preview(reference: str, driving: str, out: str, frames: int, size_px: int, model: str | None, **options: Any) -> None:
    """Show crop, warped driver and patches before anything is generated; needs no weights."""
    from inference.studio.preview import preview_file

    for note in preview_file(reference, driving, out, frames, size_px, model, **_without_none(options)):
        say(f"note: {note}")
    click.echo(out)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 takes a free one.")
@model_options
def app(host: str, port: int, **options: Any) -> None:
    """Open the same in the browser, with a live preview of the driver's patches."""
    from inference.studio.app import launch

    launch(_load_options(options), host, port, say)


@cli.command()
@click.option("-r", "--reference", required=True, help="The portrait: a picture, or a video of which the first frame is taken.")
@click.option("--camera", type=click.IntRange(min=0), help="Drive by the camera of this number.")
@click.option("--url", help="Drive by a stream: rtsp://…, http://…, udp://…")
@click.option("--file", "file", help="Drive by a video file that plays at its own rate.")
@click.option("-o", "--out", type=LocalPath(), help="Also write what was made: .mp4, .gif, or a name without suffix for a folder of PNGs.")
@click.option("--port", type=click.IntRange(0, 65535), help="Show it on a page of this machine; 0 takes a free port.")
@click.option("--window", type=int, default=8, show_default=True, help="Frames that the model sees together: 1 … 16.")
@click.option("--context", type=int, default=2, show_default=True, help="Of them, frames taken from the last window.")
@click.option("--steps", type=int, default=4, show_default=True, help="Solver steps, without guidance.")
@click.option("--sampler", default="dpmsolver++", show_default=True, help="dpmsolver++, unipc, ddim, euler.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@click.option("--seconds", type=FiniteRange(min=0, min_open=True), help="End then; else when the source ends, or on Ctrl-C.")
@click.option("--report", "report_file", help="Write latency and counts as JSON.")
@amplitude_options
@model_options
def live(reference: str, out: str | None, port: int | None, seconds: float | None, report_file: str | None, **options: Any) -> None:
    """Animate what a camera, a stream or a playing file shows now; frames that the model has no time for are dropped and counted."""
    from inference.studio.live import LiveRequest, run_request

    if out is None and port is None:
        raise UserError("nowhere to show it: give --port 0 for a page, or --out for a file")
    _check_report(report_file, (reference, options["file"]), (out,))
    load_options = _load_options(options)
    _keep_model(load_options.model, (out, report_file))
    report = run_request(LiveRequest.from_options(reference, out, port, seconds, _without_none(options)), load_options, say)
    if report_file:
        _write_json(Path(report_file), report.to_tree())
    if out is not None:
        click.echo(out)


@cli.command("find-model")
@click.option("--model", help="As animate's.")
def find_model(model: str | None) -> None:
    """Print the model that `animate` would load; exit code 2 if there is none."""
    from inference.studio.loading import find_model as find

    click.echo(find(model))


@cli.command()
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--model", help="As animate's.")
@click.option("--private", is_flag=True, help="A new repository is private.")
@click.option("--message", help="Of the commit.")
def push(repository: str, model: str | None, private: bool, message: str | None) -> None:
    """Upload a trained model to the Hugging Face Hub; needs a token (`hf auth login` or HF_TOKEN). Then: --model OWNER/NAME."""
    from inference.studio.loading import push as upload

    click.echo(upload(model, repository, message, private or None))


cli.add_command(evaluate, "evaluate")  # as `python -m inference.evaluation run`


def _load_options(options: dict[str, Any]) -> Any:
    """Takes the options of `model_options` out."""
    from inference.studio.loading import LoadOptions

    names = {"model": "model", "device": "device", "dtype": "dtype", "compiled": "compile", "offload": "offload", "overrides": "overrides"}
    return LoadOptions(**{field: options.pop(name) for name, field in names.items()})


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check_sources(request: Any) -> None:
    """What can be said at once, before a model is loaded."""
    from inference.driving.picture import is_file, is_folder
    from inference.output.video_writer import check_output
    from manifests.atomic import check_place

    for name in ("reference", "driving", "audio"):
        path = getattr(request, name)
        if path and "://" in path:
            raise UserError(f"{path} is a URL: download it first, --{name} takes a local file")
        is_there = bool(path) and (is_file(path) or (name == "driving" and is_folder(path)))
        if path and not is_there:
            raise UserError(f"{path}: the file is not there")
    check_output(Path(request.out))
    if request.save_template is not None:
        check_place(request.save_template)


def _check_report(path: str | None, sources: tuple[str | None, ...], outputs: tuple[str | None, ...]) -> None:
    """Hours of work shall not end in a report that cannot be written, or that replaces a file of the user's."""
    if path is None:
        return
    from manifests.atomic import check_place, refuse_source

    try:
        check_place(path)
    except UserError as error:
        raise UserError(f"--report {error}") from None
    if Path(path).is_dir():
        raise UserError(f"--report {path}: it is a folder, name a file")
    refuse_source(path, sources)
    if Path(path).resolve() in [Path(output).resolve() for output in outputs if output is not None]:
        raise UserError(f"--report {path}: another output has this name")


def _keep_model(model: str | None, outputs: tuple[str | None, ...]) -> None:
    """Raises UserError where an output would replace a file of the model that makes it."""
    from inference.studio.loading import files_of
    from manifests.atomic import refuse_source

    files = files_of(model)
    for output in outputs:
        if output is not None:
            refuse_source(output, files)


def _write_json(path: Path, tree: dict[str, Any]) -> None:
    from manifests.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(tree, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    run_command(cli, "python -m inference", arguments, "nothing half-written is left")
