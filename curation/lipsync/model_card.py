"""The text that goes with trained weights."""

from __future__ import annotations

from curation.lipsync.towers import Towers


def model_card(towers: Towers, facts: dict, summary: dict, plan: dict) -> str:
    """Markdown: what the weights are, what they were trained on, what they achieve on people they never saw, and where they end."""
    if summary["clips"]:
        points = "\n".join(
            f"| {p['threshold']:.3f} | {p['false_positive_rate']:.0%} | {p['true_positive_rate']:.0%} |" for p in summary["roc"]
        )
        accuracy = f"""Cross-validated by identity ({plan["folds"]} folds) on {summary["clips"]} clips of {summary["identities"]} people.
A clip counts as in sync as it lies, although some are not, so that 100 % is out of reach.

| offset within | share of the clips |
|---|---|
| 0 frames | {summary["within_0"]:.1%} |
| ±1 frame (40 ms) | {summary["within_1"]:.1%} |
| ±2 frames | {summary["within_2"]:.1%} |
| ±3 frames | {summary["within_3"]:.1%} |

Confidence of the true sound against the same sound a second late: area under the ROC {summary["auc"]:.3f}, medians
{summary["median_confidence"]:.3f} and {summary["median_wrong_confidence"]:.3f}.

| confidence above | sound a second late that passes | true sound that passes |
|---|---|---|
{points}
"""
    else:
        accuracy = "Not cross-validated.\n"
    recipe = plan["recipe"]
    return f"""# {towers.name}

Landmark lip sync: two towers of 1-D convolutions, {towers.n_parameters:,} parameters. One sees lips and chin of the 68 face points
over {towers.mouth.field} frames at 25 Hz, the other {towers.sound.field} steps (10 ms) of log-mel; both give unit embeddings of
{recipe["embedding"]} numbers. Mean similarity at 31 shifts gives the offset (the best) and the confidence (best minus median). It is no
SyncNet, and its confidence is no Sync-C.

## Training

Without labels, on {facts["clips"]} clips of {facts["identities"]} people, {facts["minutes"]} minutes, from {facts["manifests"]} runs;
{recipe["steps"]} steps, seed {plan["seed"]}. The landmarks are FaceMesh's. The footage itself is not part of the project and cannot be had
back from the weights.

## Accuracy

{accuracy}
## Limits

- "In sync" is what most of the training footage calls so.
- Short clips, profile views, little speech, music and other voices make the curve flat: believe the offset where the confidence is high.
- Landmarks of another model, or frames sampled at another rate than 25 Hz, need other weights.

## Licence

Apache-2.0, as the project.
"""
