"""`python -m benchmarks.trained_demo --models runs/s3/pipeline`: does a trained model follow what drives it?

For every accepted clip of a manifest (first frame as portrait, the clip itself as driver), with faces found again in what comes out:

- driven by video: correlation over time of mouth opening and eye opening with the driver's;
- driven by sound alone: correlation of the mouth opening with the sound's envelope, and with the clip's own mouth. Mouths move before
  they are heard, so the envelope is taken as many frames later as suits the clip's own mouth best;
- the same at audio_scale 0, 0.5, 1 and 2: variance of the mouth opening.

Several `--models` give the curve against size or training time. Ceilings beside the figures: the clips themselves, and the clips through
the codec at the model's size. Clips that the model was trained on and clips of people that it never saw stand apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import manifests
from curation import face_crop
from curation.contracts import LandmarkBackend
from curation.landmarks.lids import LidNetwork
from curation.samples.encode import write_mp4
from inference.driving.contracts import Footage
from inference.driving.opening import open_footage
from inference.evaluation.metrics.face import correlation, mouth_opening
from inference.models.components import build_codec
from inference.pipeline import MegActorSigmaPipeline
from inference.pipeline.animation import to_uint8, to_unit
from inference.studio.animate import animate
from inference.studio.request import Request
from manifests import UserError

SCALES = (0.0, 0.5, 1.0, 2.0)
SAMPLE_RATE_HZ = 16_000
ENVELOPE_S = 0.12  # of the smoothing: about a phoneme
MOST_LEAD_FRAMES = 5


@dataclass(frozen=True)
class Openings:
    """(T,) mouth and eye openings in eye distances; NaN where no face is seen."""

    mouth: np.ndarray
    eyes: np.ndarray

    @classmethod
    def of(cls, footage: Footage) -> Openings:
        points = footage.points_px.astype(np.float64)
        return cls(mouth_opening(points), LidNetwork().openings(footage.frames(), points))


def seen_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Over the frames on which both are known."""
    count = min(len(a), len(b))
    both = np.isfinite(a[:count]) & np.isfinite(b[:count])
    return correlation(a[:count][both], b[:count][both]) if both.sum() > 2 else float("nan")


def envelope(sound: np.ndarray, num_frames: int, fps: float) -> np.ndarray:
    """(F,) root mean square of the sound about each frame, in a Hann window."""
    width = round(ENVELOPE_S * SAMPLE_RATE_HZ)
    window = np.hanning(width)
    power = np.convolve(sound.astype(np.float64) ** 2, window / window.sum(), mode="same")
    middles = ((np.arange(num_frames) + 0.5) / fps * SAMPLE_RATE_HZ).astype(int)
    return np.sqrt(power[np.minimum(middles, len(power) - 1)])


def best_lead(mouth: np.ndarray, heard: np.ndarray) -> tuple[int, float]:
    """By how many frames a mouth is ahead of its sound, and the correlation then."""
    found = [seen_correlation(mouth, heard[lead:]) for lead in range(MOST_LEAD_FRAMES + 1)]
    return int(np.argmax(found)), max(found)


def through_codec(clip: str, driver: Footage, pipe: MegActorSigmaPipeline, folder: Path) -> Path:
    """The clip as the codec can show it at best: cut to the face, coded, decoded."""
    matrix = face_crop.crop_matrix(face_crop.clip_square(driver.points_px, pipe.settings.crop_scale), pipe.settings.size_px)
    frames = np.stack([face_crop.warp(frame, matrix, pipe.settings.size_px) for frame in driver.frames()])
    codec = build_codec(pipe.settings)
    coded = codec.decode(codec.encode(to_unit(torch.from_numpy(frames).permute(0, 3, 1, 2))))
    out = folder / f"{Path(clip).stem}_codec.mp4"
    write_mp4(out, to_uint8(coded), None)
    return out


def measure(
    pipe: MegActorSigmaPipeline, clip: str, driver: Footage, codec: bool, options: argparse.Namespace, folder: Path
) -> dict[str, float]:
    """One clip's figures."""
    backend: LandmarkBackend = pipe.landmarks
    real = Openings.of(driver)
    heard = envelope(driver.audio, driver.n_frames, float(driver.fps))

    def made(name: str, **request) -> Openings:
        out = folder / f"{Path(clip).stem}_{name}.mp4"
        given = {"num_inference_steps": options.steps, "guidance_scale": options.guidance}
        given = {name: value for name, value in given.items() if value is not None}
        animate(pipe, Request.from_tree({"reference": clip, "out": str(out), "preset": options.preset, **given, **request}))
        return Openings.of(open_footage(out, backend))

    lead, own = best_lead(real.mouth, heard)
    heard = heard[lead:]
    values = {"real_lead_frames": lead, "real_envelope": own}
    if codec:
        coded = Openings.of(open_footage(through_codec(clip, driver, pipe, folder), backend))
        values |= {"codec_mouth": seen_correlation(coded.mouth, real.mouth), "codec_eyes": seen_correlation(coded.eyes, real.eyes)}
    video = made("v", driving=clip)
    values |= {
        "v_mouth": seen_correlation(video.mouth, real.mouth),
        "v_eyes": seen_correlation(video.eyes, real.eyes),
        "v_face_found": float(np.isfinite(video.mouth).mean()),
    }
    if pipe.transformer.sizes.with_audio:
        variances = {}
        for scale in SCALES if options.sweep else (1.0,):
            spoken = made(f"a{scale:g}", audio=clip, audio_scale=scale)
            variances[scale] = float(np.nanvar(spoken.mouth))
            if scale == 1.0:
                values |= {"a_envelope": seen_correlation(spoken.mouth, heard), "a_mouth": seen_correlation(spoken.mouth, real.mouth)}
        values |= {f"a_variance_{scale:g}": variances[scale] for scale in variances}
        both = made("av", driving=clip, audio=clip, regions="eyes")
        values |= {"av_mouth": seen_correlation(both.mouth, real.mouth), "av_eyes": seen_correlation(both.eyes, real.eyes)}
    return values


def table(rows: dict[str, dict[str, float]]) -> str:
    """Clips side by side, one figure a line."""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    lines = [f"{'':20}" + "".join(f"{clip[:16]:>18}" for clip in rows)]
    for name in names:
        shown = [f"{values[name]:18.3g}" if name in values else f"{'':18}" for values in rows.values()]
        lines.append(f"{name:20}" + "".join(shown))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trained_demo", description=__doc__, formatter_class=plain)
    parser.add_argument("--models", nargs="+", default=["runs/s3/pipeline"], help="pipelines' folders")
    parser.add_argument("--manifest", default="outputs/people-curation")
    parser.add_argument("--split", choices=("train", "test", "all"), default="all")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--steps", type=int, help="over the preset's")
    parser.add_argument("--guidance", type=float, help="over the preset's")
    parser.add_argument("--no-sweep", dest="sweep", action="store_false", help="audio_scale 1 only")
    parser.add_argument("--no-codec", dest="codec", action="store_false", help="not the codec's ceiling")
    parser.add_argument("--clips", type=int, help="so many of each split only")
    parser.add_argument("--keep", help="keep the videos in this folder")
    parser.add_argument("--json", help="write the figures here")
    options = parser.parse_args(arguments)
    clips = manifests.load(options.manifest).query("accepted and has_audio").sort_values("video_path")
    if options.split != "all":
        clips = clips[clips.split == options.split]
    if options.clips:
        clips = clips.groupby("split").head(options.clips)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model in options.models:
        try:
            pipe = MegActorSigmaPipeline.from_pretrained(model)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        rows: dict[str, dict[str, float]] = {}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(options.keep or temporary)
            folder.mkdir(parents=True, exist_ok=True)
            for clip, split in zip(clips.video_path, clips.split, strict=True):
                driver = open_footage(clip, pipe.landmarks)
                rows[f"{Path(clip).stem}{'*' if split == 'test' else ''}"] = measure(pipe, clip, driver, options.codec, options, folder)
                driver.close()
        for split, mark in (("trained on", False), ("never seen", True)):
            members = [values for name, values in rows.items() if name.endswith("*") == mark]
            if members:
                rows[split] = {name: float(np.nanmean([values[name] for values in members])) for name in members[0]}
        found[model] = rows
        print(f"{model}, stage {pipe.transformer.sizes.stage}, step {pipe.record.step}, preset {options.preset} (* never seen)")
        print(table(rows), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
