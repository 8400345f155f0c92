"""`python -m curation`: the command line. Each command does its work in a module of its own; mistakes of the user's exit with 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curation.command_line import FiniteRange, LocalPath, run_command, say
from curation.weights.table import PROFILES, USES, needed_by
from manifests.errors import UserError


def source_options(command: Any) -> Any:
    """Options that name clips and how to score them."""
    for option in reversed(
        [
            click.option("--source", help="The data set's adapter: folder, hdtf, ...  [default: folder with --root, else samples]"),
            click.option("--root", help="Where its files lie (folder: or a .csv index).  [default: outputs/SOURCE]"),
            click.option("--profile", default="embedded", show_default=True, help="configs/curation/PROFILE.yaml."),
            click.option("--config", "config_file", help="A YAML file laid over the profile."),
            click.option("--preset", help="Thresholds (configs/curation/presets.yaml); default: the profile's."),
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="KEY=VALUE",
                help="One setting, e.g. workers=2, scorers.cuts.min_difference=20.",
            ),
        ]
    ):
        command = option(command)
    return command


def _source_of(source: str | None, root: str | None) -> tuple[str, str]:
    """Source and root as they were meant: a root alone is a folder of videos, or what the project rendered there."""
    from curation.sources.inference import source_in

    for name, given in (("SOURCE", source), ("ROOT", root)):
        if given is not None and not given.strip():
            raise UserError(f"{name} is empty (a variable that is not set?): name one, or leave it out")
    source = source or (source_in(root) if root else "samples")
    return source, root or f"outputs/{source}"


def _config(profile: str, config_file: str | None, preset: str | None, overrides: tuple[str, ...]) -> Any:
    from curation.config import load_config

    extra = (f"preset={preset}",) if preset else ()
    return load_config(profile, config_file, (*overrides, *extra))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Score talking-head clips and filter them into a Parquet manifest.

    \b
    python -m curation run                                    the rendered sample clips, into outputs/curation
    python -m curation run --root my/videos --out outputs/mine
    python -m curation plan --root my/videos                  what that would cost, from a measured sample
    python -m curation retry outputs/mine --where "error_kind == 'timeout'"
    python -m curation explain outputs/mine CLIP_ID           every number of one clip, with a picture

    A run may be killed at any moment; the same command continues it. Scores are measured once: to judge them by other
    thresholds use `manifests.apply(df, preset=...)` in Python, or run again with another --preset (nothing is decoded again).
    """


@cli.command()
@source_options
@click.option("--out", default="outputs/curation", show_default=True, help="Directory for the manifest, landmarks and report.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N clips of the source.")
def run(
    source: str | None,
    root: str | None,
    out: str,
    profile: str,
    config_file: str | None,
    preset: str | None,
    overrides: tuple[str, ...],
    limit: int | None,
) -> None:
    """Score clips and write OUT/manifest.parquet and OUT/report.html; continues where it was killed."""
    from curation.job.run import run as run_job

    source, root = _source_of(source, root)
    result = run_job(source, root, out, _config(profile, config_file, preset, overrides), limit=limit, say=say)
    _finish(result)


@cli.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--where", required=True, help="A pandas query over the manifest, e.g. \"error_kind == 'timeout'\".")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Settings for this retry, e.g. media.deadline_base_s=120.")
def retry(out: str, where: str, overrides: tuple[str, ...]) -> None:
    """Score again the committed clips of run OUT that --where selects, and nothing else."""
    from curation.config import CurationConfig
    from curation.job.run import run as run_job
    from manifests import configuration

    saved = _saved_run(out)
    for text in overrides:
        saved["config"] = configuration.merged(saved["config"], configuration.parse_override(text))
    config = configuration.build(CurationConfig, saved["config"])
    _finish(run_job(saved["source"], saved["root"], out, config, retry_where=where, say=say))


@cli.command()
@source_options
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N clips of the source.")
@click.option("--measure", default=3, show_default=True, type=click.IntRange(min=1), help="How many clips to score for the estimate.")
@click.option("--hours", type=FiniteRange(min=0, min_open=True), help="Estimate for so many hours of video, e.g. 4670 (the paper's).")
@click.option("--cores", type=click.IntRange(min=1), help="Cores of the hardware to estimate for; default: this machine's.")
@click.option("--gpus", default=0, show_default=True, type=click.IntRange(min=0), help="GPUs of the hardware to estimate for.")
@click.option("--core-price", default=0.0, type=FiniteRange(min=0), help="Price of a core-hour.")
@click.option("--gpu-price", default=0.0, type=FiniteRange(min=0), help="Price of a GPU-hour.")
@click.option("--assume-gpu", is_flag=True, help="The paper profile's networks at assumed GPU speeds, where none can be measured.")
def plan(
    source: str | None,
    root: str | None,
    profile: str,
    config_file: str | None,
    preset: str | None,
    overrides: tuple,
    limit: int | None,
    measure: int,
    hours: float | None,
    cores: int | None,
    **given: Any,
) -> None:
    """Say what a run would cost before anything runs: clips, hours, bytes, time from a measured sample; core-hours and GPU-hours by
    resolution, the bottleneck, and what --hours of video take on --cores and --gpus."""
    import os

    from curation.job.plan import make_plan
    from curation.scaling.estimate import Scale

    source, root = _source_of(source, root)
    config = _config(profile, config_file, preset, overrides)
    scale = Scale(hours, cores or config.workers or os.cpu_count() or 1, **given) if hours else None
    click.echo(make_plan(source, root, config, limit=limit, n_measured=measure, scale=scale, say=say).text())


@cli.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.argument("clip_id")
@click.option("--picture", type=LocalPath(dir_okay=False), help="Where to write the picture; default: OUT/explain/CLIP_ID.png.")
def explain(out: str, clip_id: str, picture: str | None) -> None:
    """Score one clip of run OUT again; print every number and draw landmarks, pose axes and the sync curve.

    CLIP_ID may be shortened as long as it is unique; a source_key works too.
    """
    from curation.explain import explain_clip
    from manifests.places import place

    text, file = explain_clip(place(out), clip_id, _saved_run(out), Path(picture) if picture else None)
    click.echo(text)
    say(f"picture: {file}" if file else "no picture: the clip could not be decoded")


@cli.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--preset", help="Judge by these thresholds instead of the run's.")
def report(out: str, preset: str | None) -> None:
    """Write OUT/report.html from the manifest (of a running run too)."""
    from curation.report import write_report
    from manifests.places import place

    _saved_run(out)
    click.echo(write_report(place(out), preset=preset))


@cli.command()
@click.argument("manifest")
@click.option("--out", required=True, help="Directory for the clips, their landmarks and manifest.parquet.")
@click.option("--where", default="accepted", show_default=True, help="A pandas query: which clips, e.g. \"accepted and split == 'train'\".")
@click.option("--size", "size_px", default=512, show_default=True, help="Side of the square picture, px.")
@click.option("--crop", default="fixed", show_default=True, help="fixed: one square a clip; smoothed: the square follows the head.")
@click.option("--scale", type=float, help="Side of the square over that of the landmark box; default: the whole head.")
@click.option("--within-picture", is_flag=True, help="Move or shrink the square rather than show black beyond the picture.")
@click.option("--repair-offset", is_flag=True, help="Shift the sound by its measured offset: av_offset_frames, else lipsync_offset_frames.")
@click.option("--audio", "audio_codec", default="aac", show_default=True, help="aac, or flac, which loses nothing.")
@click.option("--crf", type=int, help="Quality of the picture, lower is better; default 17.")
@click.option("--workers", default=0, show_default=True, type=click.IntRange(min=0), help="Processes; 0 = one a core.")
@click.option("--executor", default="auto", show_default=True, type=click.Choice(["auto", "inprocess", "ray"]))
@click.option("--shard-clips", default=0, type=click.IntRange(min=0), help="Clips a shard; default: as the manifest's run.")
@click.option("--retry-failed", is_flag=True, help="Cut again what failed before.")
def materialise(
    manifest: str, out: str, where: str, executor: str, workers: int, shard_clips: int, retry_failed: bool, **given: Any
) -> None:
    """Cut face-centred square clips (25 fps H.264, 16 kHz sound) out of those that MANIFEST's --where selects.

    OUT gets clips/, landmarks/ in pixels of the new clips, and a manifest like any other. The originals are only read. May be killed at
    any moment; the same command continues.
    """
    from curation.materialise.run import materialise as run_materialise
    from curation.materialise.settings import MaterialiseSettings
    from manifests import configuration

    settings = configuration.build(MaterialiseSettings, {name: value for name, value in given.items() if value is not None}, "options")
    result = run_materialise(
        manifest,
        out,
        settings,
        where=where,
        executor=executor,
        workers=workers,
        shard_clips=shard_clips,
        retry_failed=retry_failed,
        say=say,
    )
    status = result.table["status"].to_pylist()
    say(f"{len(status)} clips: {status.count('scored')} there, {status.count('failed')} failed")
    click.echo(f"manifest: {result.manifest_file}")


@cli.command()
@click.argument("manifest_paths", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--preset", help="The filter (configs/curation/presets.yaml); default: that of the runs.")
@click.option("--format", "form", default="text", show_default=True, type=click.Choice(["text", "markdown", "html", "csv"]))
@click.option("--out", type=click.Path(dir_okay=False), help="Write to this file instead of the terminal.")
def table1(manifest_paths: tuple[str, ...], preset: str | None, form: str, out: str | None) -> None:
    """The paper's Table 1 beside ours: hours, facial resolution, Sync-C, Sync-D and head angle a source, before and after filtering.

    MANIFEST may be several runs (outputs/*); what is none is passed over. A column that was not measured says why.
    """
    from curation.table1.figures import measure
    from curation.table1.paper import load_paper
    from curation.table1.show import render
    from manifests.atomic import atomic_path

    text = render(measure(manifest_paths, preset), load_paper(), form)
    if out is None:
        click.echo(text)
        return
    with atomic_path(out) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    click.echo(out)


@cli.command()
@click.argument("manifest_paths", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--out", required=True, help="Write all rows, with the column duplicate_of, to this Parquet file.")
def duplicates(manifest_paths: tuple[str, ...], out: str) -> None:
    """Join manifests and mark the clips that repeat another data set's: one YouTube video, overlapping times.

    Train on what is left: --where "accepted and duplicate_of.isna()".
    """
    import pandas as pd
    import pyarrow as pa

    import manifests
    from curation.sources.recordings import mark_duplicates

    rows = pd.concat([manifests.load(path) for path in manifest_paths], ignore_index=True)
    rows["duplicate_of"] = mark_duplicates(rows)
    meaning = "clip_id of the clip that this one repeats: one YouTube video, overlapping times; null where it repeats none"
    config = {"joined": list(manifest_paths)}
    manifests.write(rows, out, config, [manifests.Column("duplicate_of", pa.string(), "", meaning, 0)])
    click.echo(f"{rows['duplicate_of'].notna().sum()} of {len(rows)} clips repeat another\n{out}")


@cli.command()
@click.option("--out", default="outputs/samples", show_default=True, type=LocalPath(), help="Directory for the clips and truth.csv.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives other speech and motion.")
def samples(out: str, seed: int) -> None:
    """Render the sample clips: a portrait that speaks, blinks, rolls and turns, with planted faults and their truth.csv."""
    from curation.samples import render_samples

    truths = render_samples(Path(out), seed=seed, progress=say)
    click.echo(f"{len(truths)} clips in {out}, what is planted in {Path(out) / 'truth.csv'}")


@cli.command("people-sheet", hidden=True)
@click.option("--count", default=24, show_default=True, type=click.IntRange(1, 1000), help="How many people.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(min=0), help="The first person's seed.")
@click.option("--columns", default=6, show_default=True, type=click.IntRange(1, 100), help="People a row.")
@click.option("--size", "size_px", default=256, show_default=True, help="Side of each picture, px.")
@click.option("--poses", is_flag=True, help="Instead, one row a person: rest, mouth open, smile, shut eyes, turned, ...")
@click.option("--out", default="outputs/people-sheet.png", show_default=True, type=LocalPath(dir_okay=False, path_type=Path))
def people_sheet(out: Path, count: int, first: int, **given: Any) -> None:
    """Render a contact sheet of people, to look at: a PNG or a JPEG."""
    from curation.people.sheet import write_sheet

    write_sheet(out, count=count, first=first, **given)
    click.echo(f"{out}: {count} people, seeds {first} to {first + count - 1}")


@cli.command()
@click.option("--count", default=60, show_default=True, help="How many people; more may be added to a set later.")
@click.option("--clips-per-person", default=1, show_default=True, help="Clips of each, in other scenes, with other words.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of a clip.")
@click.option("--size", "size_px", default=256, show_default=True, help="Side of the square picture, px.")
@click.option("--out", default="outputs/people", show_default=True, type=LocalPath(), help="Directory for clips/, truth/ and clips.csv.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives other people.")
@click.option("--camera-faults/--clean", default=True, show_default=True, help="Colour, noise, blur and compression of cameras.")
@click.option(
    "--lid-mouth-correlation", default=0.0, help="For experiments: lids and brows follow the mouth with this correlation; else none."
)
@click.option("--workers", default=0, show_default=True, type=click.IntRange(min=0), help="Processes; 0 = one a core.")
@click.option("--executor", default="auto", show_default=True, type=click.Choice(["auto", "inprocess", "ray"]))
def people(out: str, workers: int, executor: str, **given: Any) -> None:
    """Render talking people, each another face and voice, with the truth of every frame beside every clip.

    What moves (mouth, lids, gaze, brows, smile, head, distance) is uncorrelated; the voice is synthesised from the phonemes that move the
    mouth. May be killed at any moment; the same command continues, to the same bytes. `curation run --source people` reads the set.
    """
    from curation.people.job import INDEX_FILE, render_people
    from curation.people.settings import PeopleSettings
    from manifests import configuration

    settings = configuration.build(PeopleSettings, given, "options")
    files = render_people(out, settings, workers=workers, executor=executor, say=say)
    click.echo(f"{len(files)} clips of {settings.count} people in {out}, one a row in {Path(out) / INDEX_FILE}")


@cli.command("train-lipsync")
@click.argument("manifest", type=click.Path(exists=True))
@click.option("--also", multiple=True, type=click.Path(exists=True), help="A further run to learn from, not judged: rendered people, say.")
@click.option(
    "--out",
    default="outputs/lipsync",
    show_default=True,
    type=LocalPath(file_okay=False),
    help="Directory for weights, model card, report and cached features.",
)
@click.option("--where", default="status == 'scored' and has_audio", show_default=True, help="A pandas query: the clips to train on.")
@click.option(
    "--folds", default=5, show_default=True, type=click.IntRange(min=0), help="Folds of the identity-wise cross-validation; 0 = none."
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps; default: the recipe's.")
@click.option("--seed", default=0, show_default=True)
def train_lipsync(manifest: str, also: tuple[str, ...], out: str, where: str, folds: int, steps: int | None, seed: int) -> None:
    """Train the landmark lip-sync network from a manifest of speaking clips, without labels."""
    from curation.lipsync.train import train_lipsync as train

    recipe: dict[str, Any] = {"steps": steps} if steps else {}
    click.echo(train(manifest, out, also=also, where=where, folds=folds, seed=seed, progress=say, **recipe))


@cli.command("fit-sync-boxes", hidden=True)
@click.argument("videos", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--out", default="outputs/box_map.json", show_default=True, type=LocalPath(dir_okay=False), help="Where to write the map.")
@click.option("--detector", default="s3fd", show_default=True, type=click.Choice(["s3fd", "yunet"]), help="Whose boxes to learn.")
@click.option("--weights", help="yunet: OpenCV's face_detection_yunet ONNX file.")
@click.option("--models", "directory", help="s3fd: models directory; default: $MEGACTOR_MODELS, then the user's cache.")
@click.option("--device", default="cpu", show_default=True, help="s3fd: cpu, cuda or cuda:N.")
@click.option("--every-s", default=1.0, show_default=True, type=FiniteRange(min=0.04), help="Seconds between two pictures of a video.")
def fit_sync_boxes(
    videos: tuple[str, ...], out: str, detector: str, weights: str | None, directory: str | None, device: str, every_s: float
) -> None:
    """Fit anew where SyncNet's `fast` mode crops: the map from landmarks to the face detector's boxes.

    VIDEOS are files and folders. Use the map by `--set scorers.syncnet.box_map=OUT`. Prints how far it is off on videos left out.
    """
    from curation.syncnet.fit_boxes import S3FDBoxes, YuNetBoxes, fit_from_videos, video_files

    boxes = YuNetBoxes(weights or "") if detector == "yunet" else S3FDBoxes(directory, device)
    fitted = fit_from_videos(video_files(videos), boxes, every_s, say)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    fitted.save(Path(out))
    click.echo("\n".join(f"{name}: {value}" for name, value in fitted.facts.items()))
    click.echo(out)


@cli.group()
def models() -> None:
    """The weights that the `paper` profile needs: what is there, what is missing, and getting it.

    \b
    python -m curation models list                     each model: where it lies, what it is for, its licence
    python -m curation models fetch --profile paper    curation, training and animation of the paper's profile
    python -m curation models fetch --for evaluation   what the metrics need; --for variants: the face swap's
    """


_models_option = click.option("--models", "directory", help="Models directory; default: $MEGACTOR_MODELS, then the user's cache.")


def _choice_options(command: Any) -> Any:
    for option in reversed(
        [
            click.argument("names", nargs=-1),
            click.option("--profile", type=click.Choice(list(PROFILES)), help="What a profile needs."),
            click.option("--for", "uses", multiple=True, type=click.Choice(USES), help="What a part of the project needs."),
            _models_option,
        ]
    ):
        command = option(command)
    return command


def _chosen_models(names: tuple[str, ...], profile: str | None, uses: tuple[str, ...], table: dict[str, Any]) -> list[str]:
    """Those named, those of the profile and those of the uses; all of the table if nothing is said."""
    if not names and not uses and profile is None:
        return list(table)
    return list(dict.fromkeys([*names, *needed_by(table, [*(PROFILES[profile] if profile else ()), *uses])]))


@models.command("list")
@_choice_options
def models_list(names: tuple[str, ...], profile: str | None, uses: tuple[str, ...], directory: str | None) -> None:
    """Say of NAMES (default: all) where each lies, whether it is right, and what it is for."""
    from curation.weights.store import Store, status_lines

    store = Store.standard(directory)
    chosen = _chosen_models(names, profile, uses, store.table)
    click.echo("\n".join(status_lines(store, chosen)) if chosen else _NONE_NEEDED)


@models.command("verify")
@_choice_options
def models_verify(names: tuple[str, ...], profile: str | None, uses: tuple[str, ...], directory: str | None) -> None:
    """Check the digests of NAMES (default: all); exit code 2 if one is missing or wrong."""
    from curation.weights.store import Store

    store, missing = Store.standard(directory), []
    for name in _chosen_models(names, profile, uses, store.table):
        try:
            click.echo(f"{name:20} {store.find(name)}")
        except UserError as error:
            missing.append(name)
            say(f"{name:20} {error}")
    if missing:
        raise UserError(f"missing or wrong: {', '.join(missing)}")


@models.command("fetch")
@_choice_options
@click.option("--from", "origin", type=click.Path(exists=True, file_okay=False), help="Copy from this directory instead of the network.")
def models_fetch(names: tuple[str, ...], profile: str | None, uses: tuple[str, ...], directory: str | None, origin: str | None) -> None:
    """Download and verify NAMES (default: all); continues a download that was cut off."""
    from curation.weights.store import ModelMissingError, Store

    store, missing = Store.standard(directory), []
    chosen = _chosen_models(names, profile, uses, store.table)
    if not chosen:
        click.echo(_NONE_NEEDED)
    for name, found in store.fetch_all(chosen, origin=Path(origin) if origin else None, say=say):
        model = store.model(name)
        if isinstance(found, ModelMissingError):
            missing.append(name)
            say(f"{name}: {found}")
        else:
            click.echo(f"{name:20} {found}\n{'':20} for {', '.join(model.needed_by)}: {model.used_for}")
    if missing:
        raise UserError(f"not there: {', '.join(missing)}")


_NONE_NEEDED = "the embedded profile needs no weights beyond what the packages carry; the paper's: make models PROFILE=paper"


def _saved_run(out: str) -> dict[str, Any]:
    from curation.job.ledger import Ledger

    saved = Ledger(out).read_run()
    if saved is None:
        raise UserError(f"{out} holds no run (no run.yaml); `python -m curation run --out {out}` makes one")
    return saved


def _finish(result: Any) -> None:
    import pyarrow.compute as pc

    from curation.report import write_report

    table = result.table
    scored = pc.sum(pc.equal(table["status"], "scored")).as_py() or 0
    accepted = pc.sum(table["accepted"]).as_py() or 0
    report_file = write_report(result.manifest_file.parent)
    skipped = result.index.skipped()
    counts = f"{table.num_rows} clips: {scored} scored, {table.num_rows - scored} failed, {accepted} accepted"
    say(f"{counts}; {skipped}" if skipped else counts)
    if result.barred:
        say(result.barred)
    click.echo(f"manifest: {result.manifest_file}\nreport:   {report_file}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    run_command(cli, "python -m curation", arguments, "what is committed stays, the same command continues")
