"""`python -m inference.models summary --config configs/inference/paper.yaml`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from inference.models.config import ModelConfig
from inference.models.flops import Work
from manifests.config_files import config_file


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.models", description="Facts about a model's configuration.")
    commands = parser.add_subparsers(dest="command", required=True)
    summary = commands.add_parser("summary", help="parameters and FLOPs by part")
    summary.add_argument("--config", required=True, help="embedded, paper, or a YAML file with a `model:` section")
    summary.add_argument("--stage", type=int, choices=(1, 2, 3), help="the layers of this stage instead of the file's")
    summary.add_argument("--clips", type=int, default=1)
    summary.add_argument("--frames", type=int, help="frames of each clip; 1, or 16 with temporal modules")
    summary.add_argument("--size-px", type=int, help="height and width; the configuration's own if left out")
    options = parser.parse_args(arguments)
    try:
        is_path = Path(options.config).suffix in (".yaml", ".yml")
        config = ModelConfig.from_yaml(options.config if is_path else config_file("inference", f"{options.config}.yaml"))
        config = config if options.stage is None else config.at_stage(options.stage)
        work = _work(config, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from inference.models.summary import summary_text

    print(summary_text(config, work))
    return 0


def _work(config: ModelConfig, options: argparse.Namespace) -> Work:
    frames = (16 if config.with_temporal else 1) if options.frames is None else options.frames
    size_px = config.sample_size * 8 if options.size_px is None else options.size_px
    if options.clips < 1 or frames < 1:
        raise ValueError(f"--clips is {options.clips} and --frames is {frames}; both must be positive")
    side = 8 * config.patch_size * (config.temporal_window if config.with_temporal else 1)
    if size_px < side or size_px % side:
        raise ValueError(f"--size-px is {size_px}; it must be a multiple of {side}")
    return Work(clips=options.clips, frames=frames, height_px=size_px, width_px=size_px)


if __name__ == "__main__":
    sys.exit(main())
