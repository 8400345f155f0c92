"""How well towers find the offset, and whether confidence tells true sound from sound that is a second off.

    python -m curation.lipsync.evaluate MANIFEST [--weights FILE] [--where QUERY]

evaluates given weights on clips of a manifest. That is a fair test only on people whom the weights were not trained on; for the shipped
weights the fair figures are those of the cross-validation (`python -m curation train-lipsync MANIFEST --folds 5`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from curation.command_line import LocalPath, run_command, say
from curation.lipsync.curve import features_curve, read_curve
from curation.lipsync.features import MELS_PER_FRAME, VIDEO_HZ
from curation.lipsync.footage import Footage
from curation.lipsync.towers import Towers

WRONG_SHIFT_FRAMES = VIDEO_HZ  # a second: outside the 31 shifts, so that no shift is right


@dataclass(frozen=True)
class ClipResult:
    """One clip, taken to be in sync as it lies.

    Attributes:
        offset_frames, confidence: as read from its curve; positive offset = the sound is early.
        wrong_confidence: confidence with the sound a second late, its end put to the beginning (so that as many windows are
            compared): what a clip without sync scores.
    """

    key: str
    identity: str
    windows: int
    offset_frames: int
    confidence: float
    wrong_confidence: float


def footage_curve(towers: Towers, footage: Footage) -> tuple[np.ndarray, int]:
    """(31,) sync curve of prepared features, and the number of windows; as `curve.clip_curve`."""
    return features_curve(towers, footage.mouth, footage.known, footage.mel)


def evaluate(towers: Towers, clips: Iterable[Footage], min_windows: int = 30) -> list[ClipResult]:
    """A result for every clip with enough windows, in the given order."""
    results = []
    for footage in clips:
        curve, windows = footage_curve(towers, footage)
        wrong, _ = footage_curve(towers, replace(footage, mel=np.roll(footage.mel, WRONG_SHIFT_FRAMES * MELS_PER_FRAME, axis=0)))
        if windows < min_windows or not (np.isfinite(curve).all() and np.isfinite(wrong).all()):
            continue
        offset, confidence = read_curve(curve)
        results.append(ClipResult(footage.key, footage.identity, windows, offset, confidence, read_curve(wrong)[1]))
    return results


def summarise(results: Sequence[ClipResult]) -> dict[str, object]:
    """Shares within ±1, ±2, ±3 frames of zero, area under the ROC and the ROC itself (true sound = positive), and every clip's result."""
    if not results:
        return {"clips": 0}
    off = np.abs([r.offset_frames for r in results])
    true = np.array([r.confidence for r in results])
    wrong = np.array([r.wrong_confidence for r in results])
    return {
        "clips": len(results),
        "identities": len({r.identity for r in results}),
        **{f"within_{k}": round(float(np.mean(off <= k)), 4) for k in (0, 1, 2, 3)},
        "auc": round(area_under_roc(true, wrong), 4),
        "roc": roc(true, wrong),
        "median_confidence": round(float(np.median(true)), 4),
        "median_wrong_confidence": round(float(np.median(wrong)), 4),
        "results": [asdict(r) for r in results],
    }


def area_under_roc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores higher than a negative, ties counted half (the Mann-Whitney statistic)."""
    difference = positive[:, None] - negative[None]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def roc(positive: np.ndarray, negative: np.ndarray) -> list[dict[str, float]]:
    """Points of the ROC: for false-positive rates of 0, 5, 10, 20 and 50 %, the threshold and the true-positive rate."""
    points = []
    for rate in (0.0, 0.05, 0.1, 0.2, 0.5):
        threshold = float(np.quantile(negative, 1 - rate, method="higher"))
        points.append(
            {
                "threshold": round(threshold, 4),
                "false_positive_rate": round(float(np.mean(negative > threshold)), 4),
                "true_positive_rate": round(float(np.mean(positive > threshold)), 4),
            }
        )
    return points


def table(summary: dict) -> str:
    """The summary as text for a terminal or a report: totals, then the clips, worst first."""
    if not summary["clips"]:
        return "no clip has enough windows to be evaluated"
    lines = [
        f"{summary['clips']} clips of {summary['identities']} people: offset 0 in {summary['within_0']:.0%}, within 1 frame "
        f"{summary['within_1']:.1%}, 2 frames {summary['within_2']:.1%}, 3 frames {summary['within_3']:.1%}; "
        f"AUC of confidence, true against a second late: {summary['auc']:.3f}",
        "offset  conf  conf a second late  windows  clip",
    ]
    for r in sorted(summary["results"], key=lambda r: (-abs(r["offset_frames"]), r["key"])):
        lines.append(f"{r['offset_frames']:+6d}  {r['confidence']:.2f}  {r['wrong_confidence']:18.2f}  {r['windows']:7d}  {r['key']}")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("manifest")
@click.option("--weights", help="A safetensors file.  [default: those of the package]")
@click.option("--where", default="duration_ms >= 4000", show_default=True, help="A pandas query: the clips to evaluate on.")
@click.option("--cache", type=LocalPath(file_okay=False), help="Directory that keeps the features.")
def cli(manifest: str, weights: str | None, where: str, cache: str | None) -> None:
    """Evaluate lip-sync weights on a manifest."""
    import tempfile

    from curation.lipsync.footage import collect_footage
    from curation.lipsync.towers import SHIPPED_WEIGHTS, load_towers

    with tempfile.TemporaryDirectory() as scratch:
        clips = collect_footage(manifest, where, Path(cache or scratch), say)
        click.echo(table(summarise(evaluate(load_towers(weights or SHIPPED_WEIGHTS), clips))))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    run_command(cli, "python -m curation.lipsync.evaluate", arguments, "nothing was written")


if __name__ == "__main__":
    main()
