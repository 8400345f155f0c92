"""`python -m inference.evaluation`: make a benchmark from a manifest, score methods on it, print tables. Mistakes end with exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from curation.command_line import LocalPath, run_command, say
from manifests import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
def cli() -> None:
    """Score folders of generated videos against real ones: FID, FVD, LPIPS, Sync-C, Sync-D and more, with confidence.

    \b
    python -m inference.evaluation pairs outputs/curation --protocol paper-like --out data/test      what every method is given
    python -m inference.evaluation answer data/test --modality A+V --out results/ours                our own videos
    python -m inference.evaluation run results/ours results/theirs --real data/test --out outputs/eval
    python -m inference.evaluation table outputs/eval/*                                             Tables 2 and 3 beside the paper's

    A method is a folder of <pair_id>.mp4, with a method.yaml if you like (docs/evaluation.md). Any metric whose weights are missing stays
    empty and says which command gets them. A run may be killed at any moment; the same command continues it.
    """


@cli.command()
@click.argument("manifest")
@click.option("--protocol", default="paper-like", show_default=True, help="paper-like, strict, cross, audio-only, amplitude-sweep.")
@click.option(
    "--out", required=True, type=LocalPath(file_okay=False), help="Directory for pairs.jsonl and the clips, references and sounds."
)
@click.option("--where", default="accepted and split == 'test'", show_default=True, help="A pandas query: the clips to choose from.")
@click.option(
    "--size", "size_px", default=512, show_default=True, type=click.IntRange(min=128), help="Side of the clips, px; a multiple of 8."
)
@click.option("--clips-per-identity", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--longest", "longest_ms", default=10_000, show_default=True, type=click.IntRange(min=1000), help="Longest judged part, ms.")
@click.option("--seed", default=0, show_default=True, help="Another seed chooses other clips and partners.")
def pairs(manifest: str, protocol: str, out: str, where: str, size_px: int, clips_per_identity: int, longest_ms: int, seed: int) -> None:
    """Cut a benchmark from the test split of MANIFEST (a run's directory)."""
    from inference.evaluation.export import export_pairs

    _keep_apart(out, [manifest])
    written = export_pairs(
        manifest,
        protocol,
        out,
        where=where,
        size_px=size_px,
        seed=seed,
        clips_per_identity=clips_per_identity,
        longest_ms=longest_ms,
        say=say,
    )
    click.echo(written)


@cli.command()
@click.argument("predictions", nargs=-1, required=True, type=LocalPath(file_okay=False))
@click.option(
    "--real",
    required=True,
    type=LocalPath(),
    help="A directory with pairs.jsonl, a curation run's directory, or a folder of videos named as the predictions.",
)
@click.option(
    "--out", default="outputs/eval", show_default=True, type=LocalPath(file_okay=False), help="Directory for rows, features, report."
)
@click.option("--protocol", default="paper-like", show_default=True, help="With a curation run: the benchmark that is cut into OUT/bench.")
@click.option("--where", help="With a curation run: which clips.  [default: accepted and split == 'test']")
@click.option(
    "--identity", help="With a folder: regular expression of the person in a file's stem.  [default: all but the digits at its end]"
)
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be given several times.  [default: all that can run]")
@click.option("--size", "size_px", default=512, show_default=True, type=click.IntRange(min=128), help="Canonical side, px.")
@click.option("--longest", "longest_ms", default=10_000, show_default=True, type=click.IntRange(min=1000), help="Longest judged part, ms.")
@click.option("--landmarks", default="facemesh", show_default=True, help="facemesh, or dwpose (paper profile).")
@click.option(
    "--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N for the networks; what is asked for runs, or says why not."
)
@click.option("--models", "models_dir", help="Models directory; default: $MEGACTOR_MODELS, then the user's cache.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes on Ray; 1 = this process.")
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100), help="Of the bootstrap over identities.")
def run(
    predictions: tuple[str, ...],
    real: str,
    out: str,
    protocol: str,
    where: str | None,
    identity: str | None,
    metrics: tuple[str, ...],
    resamples: int,
    device: str,
    models_dir: str | None,
    **form: Any,
) -> None:
    """Score the method folders PREDICTIONS; writes OUT/report.html, table.md, summary.csv, table.tex, pairs.parquet."""
    from inference.evaluation.benchmark import find_pairs
    from inference.evaluation.canonical import check_settings
    from inference.evaluation.judge import Settings
    from inference.evaluation.metrics.registry import settings_for
    from inference.evaluation.run import evaluate

    _keep_apart(out, [real, *predictions])
    settings = Settings(metrics=metrics or None, metric_settings=settings_for(device, models_dir), **form)
    check_settings(settings.size_px, settings.longest_ms)
    found = find_pairs(
        real,
        out,
        protocol=protocol,
        where=where,
        identity=identity,
        size_px=settings.size_px,
        longest_ms=settings.longest_ms,
        say=say,
    )
    evaluation = evaluate(predictions, found, out, settings, say=say)
    failed = sum(row["status"] == "failed" for row in evaluation.rows)
    say(f"{len(evaluation.rows)} rows, {failed} failed")
    _write(Path(out), resamples)
    if failed == len(evaluation.rows):
        sys.exit(1)


@cli.command()
@click.argument("evaluations", nargs=-1, required=True, type=LocalPath())
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100))
def table(evaluations: tuple[str, ...], resamples: int) -> None:
    """Print the paper's Tables 2 and 3 with the rows measured in EVALUATIONS: one directory a test set, named as it (hdtf, ccv2, ...).

    What is no evaluation is passed over with a word, so that outputs/eval/* may hold several evaluations, or be one.
    """
    from inference.evaluation.outputs import beside_the_paper
    from inference.evaluation.table import make_table

    found = [(path.resolve().name, make_table(path, resamples=resamples)) for path in _evaluations(evaluations)]
    click.echo(beside_the_paper(found))


@cli.command()
@click.argument("bench", type=LocalPath())
@click.option("--modality", type=click.Choice(["A", "V", "A+V"]), help="What of the driver is used.  [default: each pair's signal]")
@click.option("--out", required=True, type=LocalPath(file_okay=False), help="The method's folder: <pair_id>.mp4 and method.yaml.")
@click.option("--name", help="Of the method in tables.")
@click.option("--model", help="A run's folder, a pipeline's folder or a Hub id.  [default: runs/s3, s2, s1]")
@click.option("--preset", default="balanced", show_default=True, help="paper, balanced or fast (configs/inference/presets.yaml).")
@click.option("--steps", "num_inference_steps", type=int, help="Solver steps, instead of the preset's.")
@click.option("--regions", default="both", show_default=True, help="What of the driver is shown: eyes, mouth, both, none.")
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option("--workers", default=0, show_default=True, type=click.IntRange(min=0), help="Ray actors, a GPU each; 0 = this process.")
def answer(
    bench: str, modality: str | None, out: str, name: str | None, model: str | None, device: str, workers: int, **settings: Any
) -> None:
    """Animate every pair of BENCH (a directory with pairs.jsonl) with our own model. Killed, the same command continues."""
    from inference.evaluation.answer import answer as run_answer
    from inference.evaluation.pairs import read_pairs
    from inference.studio.loading import LoadOptions

    defaults = {key: value for key, value in settings.items() if value is not None}
    options = LoadOptions(model=model, device=device)
    count = run_answer(read_pairs(bench), modality, out, options, defaults, name=name, workers=workers, say=say)
    say(f"{count.done} made, {count.failed} failed, {count.kept} were there")
    click.echo(out)


@cli.command()
@click.argument("evaluation", type=LocalPath(file_okay=False, exists=True))
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100))
def report(evaluation: str, resamples: int) -> None:
    """Write the tables and the HTML report of EVALUATION again, from its rows."""
    _write(Path(evaluation), resamples)


def _keep_apart(out: str, sources: Sequence[str]) -> None:
    """Raises UserError where the tables and the report would lie among, and replace, what they are made from."""
    for source in sources:
        with suppress(OSError):
            if Path(out).samefile(source):
                raise UserError(f"--out {out}: is one of the sources ({source}): choose another directory")


def _evaluations(paths: tuple[str, ...]) -> list[Path]:
    """The evaluations among the arguments; a file or folder of an evaluation stands for it."""
    from inference.evaluation.run import RUN_FILE

    holders = {path: next((folder for folder in (path, path.parent) if (folder / RUN_FILE).is_file()), None) for path in map(Path, paths)}
    found = list(dict.fromkeys(holder for holder in holders.values() if holder is not None))
    if not found:
        raise UserError(f"{paths[0]} holds no evaluation; `python -m inference.evaluation run` makes one")
    for path in [path for path, holder in holders.items() if holder is None]:
        say(f"{path} is no evaluation ({RUN_FILE}) and is passed over")
    return found


def _write(out: Path, resamples: int) -> None:
    from inference.evaluation.outputs import markdown, write_outputs
    from inference.evaluation.report import write_report
    from inference.evaluation.table import make_table, read_rows

    made, rows = make_table(out, resamples=resamples), read_rows(out)
    write_outputs(made, rows, out)
    click.echo(markdown(made))
    click.echo(f"report: {write_report(out, made, rows)}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    run_command(cli, "python -m inference.evaluation", arguments, "the rows that are there stay, the same command continues")
