"""`python -m inference.evaluation`: make a benchmark from a manifest, score methods on it, print tables. Mistakes end with exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curation.configuration import ConfigError
from manifests import UserError

INTERRUPTED = 130


def say(line: str) -> None:
    click.echo(line, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
def cli() -> None:
    """Score folders of generated videos against real ones: FID, FVD, LPIPS, Sync-C, Sync-D and more, with confidence.

    \b
    python -m inference.evaluation pairs outputs/curation --protocol paper-like --out data/test      what every method is given
    python -m inference.evaluation run results/ours results/theirs --real data/test --out outputs/eval
    python -m inference.evaluation table outputs/eval                                               Tables 2 and 3 beside the paper's

    A method is a folder of <pair_id>.mp4, with a method.yaml if you like (name, parameters_b, signal, notes). Any metric whose weights are
    missing stays empty and says which command gets them. A run may be killed at any moment; the same command continues it.
    """


@cli.command()
@click.argument("manifest")
@click.option("--protocol", default="paper-like", show_default=True, help="paper-like, strict, cross, audio-only, amplitude-sweep.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False), help="Directory for pairs.jsonl and the clips, references and sounds."
)
@click.option("--where", default="accepted and split == 'test'", show_default=True, help="A pandas query: the clips to choose from.")
@click.option(
    "--size", "size_px", default=512, show_default=True, type=click.IntRange(min=64), help="Side of the clips, px; a multiple of 8."
)
@click.option("--clips-per-identity", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--longest", "longest_ms", default=10_000, show_default=True, type=click.IntRange(min=1000), help="Longest judged part, ms.")
@click.option("--seed", default=0, show_default=True, help="Another seed chooses other clips and partners.")
def pairs(manifest: str, protocol: str, out: str, where: str, size_px: int, clips_per_identity: int, longest_ms: int, seed: int) -> None:
    """Cut a benchmark from the test split of MANIFEST (a run's directory)."""
    from inference.evaluation.export import export_pairs

    options = {"where": where, "size_px": size_px, "seed": seed, "clips_per_identity": clips_per_identity, "longest_ms": longest_ms}
    click.echo(export_pairs(manifest, protocol, out, say=say, **options))


@cli.command()
@click.argument("predictions", nargs=-1, required=True, type=click.Path(file_okay=False))
@click.option("--real", required=True, help="A benchmark (directory with pairs.jsonl) or a folder of real videos named as the predictions.")
@click.option(
    "--out", default="outputs/eval", show_default=True, type=click.Path(file_okay=False), help="Directory for rows, features, report."
)
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be given several times.  [default: all that can run]")
@click.option("--size", "size_px", default=512, show_default=True, type=click.IntRange(min=64), help="Canonical side, px.")
@click.option("--longest", "longest_ms", default=10_000, show_default=True, type=click.IntRange(min=1000), help="Longest judged part, ms.")
@click.option("--landmarks", default="facemesh", show_default=True, help="facemesh, or dwpose (paper profile).")
@click.option(
    "--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N for the networks; what is asked for runs, or says why not."
)
@click.option("--models", "models_dir", help="Models directory; default: $MEGACTOR_MODELS, then the user's cache.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes on Ray; 1 = this process.")
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100), help="Of the bootstrap over identities.")
def run(
    predictions: tuple[str, ...], real: str, out: str, metrics: tuple[str, ...], resamples: int, device: str, models_dir: str | None, **form
) -> None:
    """Score the method folders PREDICTIONS; writes OUT/report.html, table.md, summary.csv, table.tex, pairs.parquet."""
    from inference.evaluation.judge import Settings
    from inference.evaluation.metrics.registry import settings_for
    from inference.evaluation.run import evaluate

    settings = Settings(metrics=metrics or None, metric_settings=settings_for(device, models_dir), **form)
    evaluation = evaluate(predictions, real, out, settings, say=say)
    failed = sum(row["status"] == "failed" for row in evaluation.rows)
    say(f"{len(evaluation.rows)} rows, {failed} failed")
    _write(Path(out), resamples)


@cli.command()
@click.argument("evaluations", nargs=-1, required=True, type=click.Path(file_okay=False, exists=True))
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100))
def table(evaluations: tuple[str, ...], resamples: int) -> None:
    """Print the paper's Tables 2 and 3 with the rows measured in EVALUATIONS below (one directory a test set)."""
    from inference.evaluation.outputs import beside_the_paper
    from inference.evaluation.table import make_table

    click.echo(beside_the_paper([(Path(path).resolve().name, make_table(path, resamples=resamples)) for path in evaluations]))


@cli.command()
@click.argument("evaluation", type=click.Path(file_okay=False, exists=True))
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(min=100))
def report(evaluation: str, resamples: int) -> None:
    """Write the tables and the HTML report of EVALUATION again, from its rows."""
    _write(Path(evaluation), resamples)


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
    try:
        cli.main(args=arguments, prog_name="python -m inference.evaluation", standalone_mode=False)
    except (ConfigError, UserError) as error:
        say(f"error: {' '.join(str(error).split())}")
        sys.exit(2)
    except click.ClickException as error:
        say(f"error: {error.format_message()}")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("\ninterrupted; the rows that are there stay, the same command continues")
        sys.exit(INTERRUPTED)
