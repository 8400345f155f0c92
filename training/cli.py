"""`python -m training`: the command line. Each command does its work in a module of its own; mistakes of the user's exit with 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from curation.command_line import INTERRUPTED, FiniteRange, LocalPath, run_command, say
from training.loop.faults import StoppedError


def configuration_options(command: Any) -> Any:
    """Options that name a stage and its configuration."""
    for option in reversed(
        [
            click.option("--stage", type=click.IntRange(1, 3), default=1, show_default=True, help="1 spatial, 2 modality, 3 motion."),
            click.option("--config", default="embedded", show_default=True, help="configs/training/CONFIG.yaml, or a path."),
            click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. optimiser.lr=2e-5, steps=500."),
        ]
    ):
        command = option(command)
    return command


class _TrainByDefault(click.Group):
    """`python -m training --stage 1` is `python -m training train --stage 1`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["train", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_TrainByDefault, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Train MegActor-Σ in three stages from a manifest.

    \b
    python -m training --stage 1                              rendered people's manifest, tiny model, minutes on a CPU: runs/s1
    python -m training --stage 2                              continues from runs/s1 into runs/s2; then --stage 3
    python -m training plan --stage 1 --config paper --gpu h100
    make models PROFILE=paper                                 what the paper's stages start from: PixArt-α 512, EasyAnimate's motion modules
    accelerate launch --num_processes 8 -m training --stage 1 --config paper --manifest outputs/hdtf --out runs/hdtf-s1
    python -m training doctor                                 what this machine lacks for it
    python -m training report runs/s1                         curves, samples, configuration in one HTML file

    Ctrl-C saves; the same command continues, after a kill too.
    """


@cli.command()
@configuration_options
@click.option("--manifest", default="outputs/people-curation", show_default=True, help="A curation run's folder, or its manifest.parquet.")
@click.option("--out", type=LocalPath(), help="The run's folder.  [default: runs/sSTAGE]")
@click.option("--init", help="The run of the stage before or one of its checkpoints, or a pipeline to train on.  [default: runs/sSTAGE-1]")
def train(stage: int, config: str, overrides: tuple[str, ...], manifest: str, out: str | None, init: str | None) -> None:
    """Train one stage, or continue it."""
    from training.config import load_training_config
    from training.run import train as run

    settings = load_training_config(config, stage, overrides)
    before = f"runs/s{stage - 1}" if stage > 1 else None
    run(settings, manifest, out or f"runs/s{stage}", init=init, before=before, say=say)


@cli.command()
@configuration_options
@click.option("--gpu", help="A GPU by name (h100, a100, 4090 as 'RTX 4090', …) instead of the device at hand.")
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(min=1), help="How many of them.")
@click.option(
    "--mfu",
    default=0.45,
    show_default=True,
    type=FiniteRange(0.01, 1),
    help="Share of the peak assumed with --gpu, where nothing is measured.",
)
@click.option("--dollars-per-hour", type=FiniteRange(min=0), help="Price of one GPU hour.")
def plan(
    stage: int, config: str, overrides: tuple[str, ...], gpu: str | None, gpus: int, mfu: float, dollars_per_hour: float | None
) -> None:
    """Say what a stage would cost before anything runs: parameters, memory, hours, dollars."""
    from training.config import load_training_config
    from training.cost.plan import make_plan

    click.echo(make_plan(load_training_config(config, stage, overrides), gpu, gpus, mfu, dollars_per_hour).text())


def job_options(command: Any) -> Any:
    """Options of the offline jobs over clips."""
    for option in reversed(
        [
            click.option("--executor", type=click.Choice(["auto", "inprocess", "ray"]), default="auto", show_default=True),
            click.option(
                "--workers", default=0, type=click.IntRange(min=0), help="Processes on Ray; 0 = one a core, or what the GPUs hold."
            ),
            click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
            click.option("--retry-failed", is_flag=True, help="Try clips again that are on record as failed."),
        ]
    ):
        command = option(command)
    return command


@cli.command("cache-latents")
@configuration_options
@click.option("--manifest", default="outputs/people-curation", show_default=True, help="A curation run's folder, or its manifest.parquet.")
@click.option("--out", default="outputs/cache/latents", show_default=True, type=LocalPath(), help="The cache's folder.")
@job_options
def cache_latents(stage: int, config: str, overrides: tuple[str, ...], manifest: str, out: str, **options: Any) -> None:
    """Encode some frames of every clip once, so that training neither decodes nor encodes. Killed, the same command continues."""
    from training.config import load_training_config
    from training.offline.cache_job import cache_latents as run

    click.echo(run(load_training_config(config, stage, overrides), manifest, out, **options, say=say).text())


@cli.command()
@click.option("--manifest", default="outputs/people-curation", show_default=True, help="A curation run's folder, or its manifest.parquet.")
@click.option("--out", default="outputs/decoder.safetensors", show_default=True, type=LocalPath(dir_okay=False), help="The weights.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--init", help="A decoder to start from.")
@click.option("--model", help="A pipeline's folder: its predictions are learnt from too.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. steps=500.")
def codec(manifest: str, out: str, device: str, init: str | None, model: str | None, overrides: tuple[str, ...]) -> None:
    """Train the decoder that hides the blocks of disagreeing latents (codec.decoder). Killed, the same command continues."""
    from manifests import configuration
    from training.codec.train import CodecTraining, train_codec

    click.echo(train_codec(configuration.load(CodecTraining, (), overrides), manifest, out, device=device, init=init, model=model, say=say))


@cli.command()
@click.option(
    "--people", "num_people", default=600, show_default=True, type=click.IntRange(min=10), help="How many are rendered to learn from."
)
@click.option("--decoder-steps", default=3000, show_default=True, type=click.IntRange(min=1), help="Of the decoder; then a third more.")
@click.option(
    "--out", default="outputs/weights", show_default=True, type=LocalPath(), help="Folder of everything; the result is OUT/packed."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting of both stages, e.g. steps=500.")
def weights(num_people: int, decoder_steps: int, out: str, overrides: tuple[str, ...]) -> None:
    """Make the weights that come with the package again: people, decoder, two stages. Killed, the same command continues."""
    from training.weights import make_weights

    click.echo(make_weights(out, num_people, overrides, decoder_steps, say))


@cli.command()
@click.option("--reference", required=True, type=LocalPath(dir_okay=False), help="The portrait: a picture with one face.")
@click.option("--out", default="runs/adapted", show_default=True, type=LocalPath(), help="Folder of clips, curation and run.")
@click.option("--model", help="A pipeline's folder to start from.  [default: the packaged one]")
@click.option("--steps", default=300, show_default=True, type=click.IntRange(min=1), help="Optimiser steps.")
@click.option(
    "--people", default=24, show_default=True, type=click.IntRange(min=0), help="Rendered beside it: turning heads are not forgotten."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. optimiser.lr=1e-4.")
def adapt(reference: str, out: str, model: str | None, steps: int, people: int, overrides: tuple[str, ...]) -> None:
    """Adapt the packaged model to one portrait, by planted clips of it: minutes on a CPU. Then animate with --model OUT/run."""
    from training.adapt import adapt as run

    click.echo(run(reference, out, model, steps, people, overrides, say=say))


@cli.command()
@click.option(
    "--kind",
    type=click.Choice(["swap", "stylise", "rerender"]),
    required=True,
    help="Another person's face, another style, or (rendered people) another person.",
)
@click.option("--manifest", default="outputs/people-curation", show_default=True, help="A run's folder, or its manifest; only read.")
@click.option("--out", type=LocalPath(), help="Folder of the new manifest and the videos.  [default: outputs/KIND]")
@click.option("--where", default="accepted", show_default=True, help="A pandas query: which clips.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. size_px=128, stylise.strength=0.3.")
@job_options
def augment(kind: str, manifest: str, out: str | None, where: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Make variants of the clips for the driving image, and a manifest that names them. Killed, the same command continues."""
    from manifests import configuration
    from training.offline.variants import VariantConfig, make_variants

    config = configuration.load(VariantConfig, (), overrides)
    click.echo(make_variants(config, kind, manifest, out or f"outputs/{kind}", where=where, **options, say=say).text())


@cli.command()
@click.argument("run", type=LocalPath(file_okay=False))
def report(run: str) -> None:
    """Write RUN/report.html (of a running run too)."""
    from training.watch.report import write_report

    click.echo(write_report(run))


@cli.command()
@click.option("--gpu", is_flag=True, help="Fail where there is no GPU that the paper profile could run on.")
@click.option("--out", default="runs", show_default=True, help="Where runs will be written: its disk is looked at.")
def doctor(gpu: bool, out: str) -> None:
    """Say what this machine lacks, and what to do about it; exit code 1 if anything.

    Driver, torch's build, compiler, shared memory, onnxruntime, all-reduce, memory, disk: each is tried rather than looked up.
    """
    from training.doctor import FAIL, examine, report

    findings = examine(gpu, Path(out))
    click.echo(report(findings))
    if any(finding.state == FAIL for finding in findings):
        sys.exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    try:
        run_command(cli, "python -m training", arguments, "what is saved stays, the same command continues from there")
    except StoppedError as error:
        say(f"\nstopped: {error}")
        sys.exit(INTERRUPTED if error.interrupted else 1)
