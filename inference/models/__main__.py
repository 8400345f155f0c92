"""`python -m inference.models summary --config paper`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curation.command_line import run_command
from inference.models.config import ModelConfig
from inference.models.flops import Work
from manifests.config_files import config_file
from manifests.errors import UserError, did_you_mean

LARGEST = 1_000_000  # of what is counted in clips, frames or pixels


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Facts about a model's configuration."""


@cli.command()
@click.option("--config", "name", required=True, help="embedded, paper, or a YAML file with a `model:` section.")
@click.option("--stage", type=click.IntRange(1, 3), help="The layers of this stage instead of the file's.")
@click.option("--clips", type=click.IntRange(1, LARGEST), default=1, show_default=True)
@click.option("--frames", type=click.IntRange(1, LARGEST), help="Frames of each clip.  [default: 1, or 16 with temporal modules]")
@click.option("--size-px", type=click.IntRange(1, LARGEST), help="Height and width.  [default: the configuration's]")
def summary(name: str, stage: int | None, clips: int, frames: int | None, size_px: int | None) -> None:
    """Parameters and FLOPs by part."""
    from inference.models.summary import summary_text

    config = ModelConfig.from_yaml(_file(name))
    config = config if stage is None else config.at_stage(stage)
    click.echo(summary_text(config, _work(config, clips, frames, size_px)))


def _file(name: str) -> Path:
    """Of a configuration by its name, or by its path."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    file = config_file("inference", f"{name}.yaml")
    if not file.is_file():
        known = [path.stem for path in file.parent.glob("*.yaml") if "\nmodel:" in path.read_text(encoding="utf-8")]
        raise UserError(f"no configuration {name!r}{did_you_mean(name, known)}")
    return file


def _work(config: ModelConfig, clips: int, frames: int | None, size_px: int | None) -> Work:
    frames = frames or (16 if config.with_temporal else 1)
    size_px = size_px or config.sample_size * 8
    side = 8 * config.patch_size * (config.temporal_window if config.with_temporal else 1)
    if size_px % side:
        raise UserError(f"--size-px is {size_px}; it must be a multiple of {side}")
    return Work(clips=clips, frames=frames, height_px=size_px, width_px=size_px)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        run_command(cli, "python -m inference.models", arguments, "nothing was written")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
