"""`python -m benchmarks.training_overfit --manifest outputs/curation`: do the three stages learn what they should, on one clip?

Trains stage 1 → 2 → 3 of the embedded profile on one clip (minutes on a CPU) and holds the results against fixed bars:

- the training loss of stage 1 falls below LOSS_BAR of its first record in every quartile of timesteps;
- the clip's video, made again from one portrait frame and the driving patches, reaches PSNR_BAR dB to the target after stages 1 and 3;
- after stage 2 another sound (the clip's own, half its length later) changes the mouth at least SOUND_BAR times as much as the eyes.

Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import manifests
from inference.driving.regions import EYES, MOUTH, region_pixels
from inference.pipeline import MegActorSigmaPipeline
from inference.sampling.settings import SamplingSettings
from training.config import TrainingConfig, load_training_config
from training.data.clips import load_clips
from training.data.frames import ClipFrames
from training.loop.run_folder import PIPELINE, Log
from training.run import inference_config, train
from training.watch.videos import driven_picture, find_material, psnr

LOSS_BAR, PSNR_BAR, SOUND_BAR = 0.2, 20.0, 3.0
STEPS = {1: 1000, 2: 700, 3: 75}  # half the profile's: one clip is soon known
FRAMES, SAMPLER_STEPS = 16, 20


@dataclass(frozen=True)
class Result:
    """One line: what was measured, the bar, whether it is met."""

    what: str
    value: float
    bar: float
    met: bool

    def text(self) -> str:
        return f"{'ok ' if self.met else 'NOT'} {self.what:<66} {self.value:8.3f}  bar {self.bar:g}"


def configuration(stage: int, clip_id: str, options: argparse.Namespace) -> TrainingConfig:
    """The embedded profile, one clip of any split, no condition dropout in the way of a measurement."""
    overrides = (
        f"data.where=clip_id == '{clip_id}'",
        "data.split=all",
        f"steps={max(2, round(STEPS[stage] * options.share))}",
        "logging.trackers=[]",
        f"videos.frames={FRAMES}",
        f"videos.steps={SAMPLER_STEPS}",
    )
    return load_training_config("embedded", stage, (*overrides, *options.set))


def choose_clip(manifest: str) -> str:
    """The accepted clip that speaks whose head moves least: sound says nothing of a pose, and another pose changes the eyes too."""
    table = manifests.load(manifest).query("accepted and has_audio")
    return str(table.sort_values(["head_rotation_deg", "clip_id"]).clip_id.iloc[0])


def sampled(run: Path, material: ClipFrames, shown: set[str], audio: np.ndarray | None) -> np.ndarray:
    """(F, S, S, 3) uint8 from the run's pipeline."""
    pipeline = MegActorSigmaPipeline.from_pretrained(run / PIPELINE)
    driven = driven_picture(material, shown, pipeline.settings)
    video = pipeline.generate(
        torch.from_numpy(material.reference).permute(2, 0, 1)[None],
        torch.from_numpy(driven).permute(0, 3, 1, 2)[None],
        None if audio is None else torch.from_numpy(audio)[None].float(),
        SamplingSettings(num_inference_steps=SAMPLER_STEPS, guidance_scale=1.0),
        seeds=[0],
        moved_frames=None if material.moved is None else torch.from_numpy(material.moved).permute(0, 3, 1, 2)[None],
    )
    return video[0].permute(0, 2, 3, 1).numpy()


def measure(stage: int, run: Path, config: TrainingConfig, material: ClipFrames) -> list[Result]:
    """The bars of a stage."""
    found = []
    if stage == 1:
        records = [record for record in Log(run).read() if record["kind"] == "train"]
        quartiles = [f"loss_simple_t_q{q}" for q in (1, 2, 3, 4)]
        share = max(float(np.mean([record[name] for record in records[-4:]])) / records[0][name] for name in quartiles)
        found.append(Result("stage 1: training loss, share of the first record, worst quartile", share, LOSS_BAR, share <= LOSS_BAR))
    if stage in (1, 3):
        value = psnr(material.targets, sampled(run, material, {EYES, MOUTH}, None))
        found.append(Result(f"stage {stage}: PSNR of the video made again, dB", value, PSNR_BAR, value >= PSNR_BAR))
    if stage == 2:
        plain = sampled(run, material, {EYES}, material.audio)
        other = sampled(run, material, {EYES}, np.roll(material.audio, len(material.audio) // 2, axis=0))
        change = np.abs(plain.astype(float) - other.astype(float)).mean(-1)  # (F, S, S)
        size = config_size(config)
        mouth, eyes = (float(change[region_pixels(material.parts.regions, region, size, size)].mean()) for region in (MOUTH, EYES))
        print(f"  another sound changes the mouth by {mouth:.2f}, the eyes by {eyes:.2f} (of 255)", flush=True)
        ratio = mouth / max(eyes, 1e-6)
        found.append(Result("stage 2: change of the mouth over the eyes under another sound", ratio, SOUND_BAR, ratio >= SOUND_BAR))
    return found


def config_size(config: TrainingConfig) -> int:
    return inference_config(config).size_px


def main(arguments: list[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_overfit", description=__doc__, formatter_class=plain)
    parser.add_argument("--manifest", default="outputs/curation")
    parser.add_argument("--clip", help="clip id; of those that speak the one whose head moves least if left out")
    parser.add_argument("--out", default="runs/overfit", help="runs are written (and continued) in OUT/s1 … s3")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps; below 1 the bars are not meant to hold")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    clip_id = options.clip or choose_clip(options.manifest)
    results: list[Result] = []
    for stage in (1, 2, 3):
        begin = time.perf_counter()
        config, run = configuration(stage, clip_id, options), Path(options.out) / f"s{stage}"
        before = str(Path(options.out) / f"s{stage - 1}")
        train(config, options.manifest, run, before=before, say=lambda line: print(line, flush=True))
        inference = inference_config(config)
        table = load_clips(options.manifest, config.data.where, "all", inference.fps, needs_audio=True)
        audible = replace(config, stage=2) if stage == 1 else config  # the same material for all stages
        found = find_material(audible, inference, table)
        if found is None:
            print(f"error: clip {clip_id} has not {FRAMES} frames with a face", file=sys.stderr)
            return 2
        material = found[2]
        still = psnr(material.targets, np.broadcast_to(material.reference, material.targets.shape))
        print(f"  stage {stage}: {time.perf_counter() - begin:.0f} s; the portrait itself, held still: {still:.1f} dB", flush=True)
        results += measure(stage, run, config, material)
    print("\n".join(result.text() for result in results))
    (Path(options.out) / "overfit.json").write_text(json.dumps([result.__dict__ for result in results], indent=2))
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
