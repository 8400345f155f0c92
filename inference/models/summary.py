"""What a configuration costs: parameters and FLOPs by part. The model is built on the meta device, so no size needs memory or time."""

from __future__ import annotations

from inference.models.config import ModelConfig
from inference.models.flops import Work, forward_flops, training_flops


def parameter_table(config: ModelConfig) -> dict[str, int]:
    """Parameters by part, counted on the modules themselves."""
    import torch

    from inference.models.megactor import MegActorModel, parts

    with torch.device("meta"):
        model = MegActorModel.from_sizes(config)
    counts = {part: sum(tensor.numel() for tensor in tensors) for part, tensors in parts(model).items()}
    return {part: count for part, count in counts.items() if count}


def summary_text(config: ModelConfig, work: Work) -> str:
    """The tables that `python -m inference.models summary` prints."""
    counts, flops = parameter_table(config), forward_flops(config, work)
    rows = [("part", "parameters", "GFLOP forward")]
    for part in dict.fromkeys([*counts, *flops]):
        rows.append((part, f"{counts[part]:,}" if part in counts else "", f"{flops[part] / 1e9:,.1f}" if part in flops else ""))
    rows.append(("total", f"{sum(counts.values()):,}", f"{sum(flops.values()) / 1e9:,.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{name:<{widths[0]}}  {count:>{widths[1]}}  {flop:>{widths[2]}}" for name, count, flop in rows]
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(-1, "-" * len(lines[0]))
    training = training_flops(config, work)
    batch = (
        f"{work.clips} clip{'s' * (work.clips != 1)} × {work.frames} frame{'s' * (work.frames != 1)} of {work.width_px}×{work.height_px} px"
    )
    weights = sum(counts.values()) * 2 / 2**30
    return "\n".join(
        [
            f"stage {config.stage}: {config.num_layers} blocks of width {config.width}; {batch}",
            "",
            *lines,
            "",
            f"one training step's forward and backward at stage {config.stage}: {training / 1e12:,.2f} TFLOP",
            f"weights in bfloat16: {weights:,.2f} GiB",
        ]
    )
