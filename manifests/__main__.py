"""Command line: `python -m manifests --help`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

import manifests
from manifests.command_line import OneLineGroup

if TYPE_CHECKING:
    import pandas as pd


def _print(frame: pd.DataFrame, *, index: bool = False) -> None:
    import pandas as pd

    with pd.option_context("display.width", 200, "display.max_columns", None, "display.max_rows", None, "display.max_colwidth", 100):
        click.echo(frame.to_string(index=index, float_format=lambda number: f"{number:.4g}", na_rep="-"))


def _preset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--preset", "-p", required=True, help="Name of the preset.")(command)
    command = click.option("--presets-file", type=click.Path(), help="YAML file with presets of your own.")(command)
    return click.option("--set", "settings", multiple=True, metavar="REASON=VALUE", help="Another threshold for a rule; may be repeated.")(
        command
    )


def _thresholds(settings: tuple[str, ...]) -> dict[str, Any]:
    thresholds = {}
    for setting in settings:
        reason, equals, value = setting.partition("=")
        if not equals:
            raise manifests.UserError(f"--set takes REASON=VALUE, not {setting!r}")
        try:
            thresholds[reason] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise manifests.UserError(f"--set {reason}: cannot read the value {value!r}") from None
    return thresholds


@click.group("manifests", cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Look at manifests: Parquet files with one row a clip.

    PATH is a run's directory, finished or still running, a Parquet file, or a URL that fsspec opens.

    \b
    python -m manifests summary outputs/curation
    python -m manifests apply outputs/curation --preset paper --set head_turned=15 --out frontal.parquet
    python -m manifests diff outputs/before outputs/after
    """


@main.command()
@click.argument("path", required=False)
@click.option("--markdown", is_flag=True, help="As a Markdown table (the schema only).")
def describe(path: str | None, markdown: bool) -> None:
    """Columns with type, unit and meaning: of the schema, or of the manifest at PATH."""
    if markdown:
        from manifests import document

        click.echo(document.columns_table())
    else:
        _print(manifests.describe(path))


@main.command()
@click.argument("path")
def validate(path: str) -> None:
    """Check that the manifest keeps its promises; exit code 1 and the problems if not."""
    problems = manifests.validate(path)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(1)
    click.echo("no problem found")


@main.command()
@click.argument("before")
@click.argument("after")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Columns not compared, besides timings and attempts.")
@click.option("--tolerance", default=0.0, show_default=True, help="Relative difference of numbers (absolute below 1) that counts as none.")
def diff(before: str, after: str, ignore: tuple[str, ...], tolerance: float) -> None:
    """Compare two manifests clip by clip; exit code 1 if they differ."""
    difference = manifests.diff(before, after, ignore=(*manifests.TIMING_COLUMNS, *ignore), tolerance=tolerance)
    click.echo(str(difference))
    raise SystemExit(1 if difference else 0)


@main.command()
@click.argument("path")
def summary(path: str) -> None:
    """Clips, hours, verdicts and mean scores by source."""
    _print(manifests.summary(path).T, index=True)


@main.command()
@click.argument("path")
@_preset_options
@click.option("--out", type=click.Path(dir_okay=False), help="Write the manifest with the new verdicts to this file.")
def apply(path: str, preset: str, presets_file: str | None, settings: tuple[str, ...], out: str | None) -> None:
    """Judge the clips by a preset: how many survive each rule; with --out, write the manifest anew. Decodes nothing."""
    thresholds = _thresholds(settings)
    df = manifests.load(path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        judged = manifests.apply(df, preset, presets_file, thresholds)
    for warning in told:
        click.echo(warning.message, err=True)
    survival = manifests.survival(df, preset, presets_file, thresholds)
    _print(survival)
    if out:
        config = {**manifests.run_config(path), "preset": preset, "thresholds": thresholds}
        manifests.write(judged, out, config)
        click.echo(f"wrote {out}")


@main.command()
@click.option("--presets-file", type=click.Path(), help="YAML file with presets of your own.")
def presets(presets_file: str | None) -> None:
    """The presets and their rules."""
    for preset in manifests.load_presets(presets_file).values():
        click.echo(f"{preset.name}: {preset.description}\n  from {preset.source}")
        for rule in preset.rules:
            click.echo(f"  {rule.reason}: {rule.text}")


@main.command(hidden=True)
@click.argument("page", type=click.Path(dir_okay=False, exists=True))
def document_page(page: str) -> None:
    """Generate the marked parts of PAGE (docs/manifest.md) anew."""
    from manifests import document

    text = Path(page).read_text(encoding="utf-8")
    Path(page).write_text(document.refreshed(text), encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m manifests")
