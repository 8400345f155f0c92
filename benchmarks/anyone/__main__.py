"""`make bench-anyone`: does the packaged model move faces that it never saw?

On real clips of the corpus (none of it was trained on): self-reenactment of single-face clips (portrait = first frame with a face, driver =
the first seconds), pairs of a portrait with somebody else's clip, and speech alone, each beside controls: the portrait held still, the
portrait moved by the driver's similarity transform, the target through the codec. Prints the page; --docs writes it. Every clip's figures
are kept in OUT as they are made, so a killed run continues.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.anyone.footage import FirstSeconds, portraits, read_first, single_face_clips, speech
from benchmarks.anyone.page import page
from benchmarks.anyone.reading import Reader, edge_ratio, face_psnr, followed, likeness
from benchmarks.anyone.rows import animated, spoken
from benchmarks.kept import Kept, digest_of_weights
from benchmarks.people.recognition import Recogniser, fetch
from curation.contracts import ClipError
from curation.landmarks import make_backend
from curation.lipsync.curve import clip_curve, read_curve
from curation.lipsync.features import VIDEO_HZ
from curation.lipsync.towers import load_towers
from inference.driving.reference import Reference, load_reference
from inference.driving.sound import open_sound
from inference.models.components import build_codec
from inference.pipeline import MegActorSigmaPipeline
from inference.pipeline.animation import to_unit
from inference.studio.loading import find_model
from inference.studio.presets import preset
from manifests import UserError

DOCS = Path(__file__).resolve().parents[2] / "docs"
NUM_PAIRS, NUM_SPEECH = 30, 20
SPEECH_S = 6.0
NOISE = 0.1  # of the codec's disturbed latents, in deviations of a channel


class Bench:
    """Everything that is opened once."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.corpus = options, Path(options.corpus)
        self.pipe = MegActorSigmaPipeline.from_pretrained(find_model(options.model))
        self.pipe.set_progress_bar_config(disable=True)
        self.codec = build_codec(self.pipe.settings)
        self.sampling = preset(options.preset).sampling
        self.backend, self.reader, self.once, self.towers = make_backend("facemesh"), Reader(), Reader(looks=1), load_towers()
        self.recogniser = Recogniser(Path(options.network) if options.network else fetch(Path(options.out)))
        self._clips: dict[Path, FirstSeconds] = {}

    def clip(self, path: Path) -> FirstSeconds:
        if path not in self._clips:
            self._clips.clear()  # one at a time: a clip is some hundred MB
            self._clips[path] = read_first(path, self.options.seconds, self.backend)
        return self._clips[path]

    def portrait_of(self, clip: FirstSeconds) -> Reference:
        """The first frame that shows a face."""
        seen = np.flatnonzero(np.isfinite(clip.points_px).all(axis=(1, 2)))
        if not len(seen):
            raise UserError(f"{clip.name}: no face")
        return self.open(clip.rgb[seen[0]])

    def open(self, picture: Path | np.ndarray) -> Reference:
        settings = self.pipe.settings
        return load_reference(picture, self.backend, settings.size_px, settings.crop_scale)

    def identity(self, reference: Reference) -> list[float]:
        """The recognition network's vector of a portrait, as the model sees it."""
        return [float(x) for x in self.recogniser.embed(reference.crop, reference.crop_points_px)]

    def driven(self, portrait: Reference, driver: FirstSeconds, regions: str = "both", sound: bool = False) -> dict[str, dict[str, float]]:
        """Figures by row; with `sound` what the lip-sync scorer says of the model's mouth ("own") and of the driver's ("filmed")."""
        heard = driver.audio.astype(np.float32) / 32768 if sound and driver.audio is not None else None
        made = animated(self.pipe, self.codec, portrait, driver, self.sampling, heard, regions)
        reference = made.driving.portrait
        about, vector = reference.crop_points_px, np.array(self.identity(reference))
        drivers = self.reader.read(made.target, about)
        found: dict[str, dict[str, float]] = {}
        for name, frames in made.rows.items():
            reading = self.reader.read(frames, about)
            found[name] = followed(reading, drivers) | {
                "psnr": face_psnr(frames, made.target, made.driving.points_px),
                "edges": edge_ratio(frames),
                "likeness": likeness(self.recogniser, frames, reading, vector),
            }
            if name == "model" and self.options.keep:
                self._show(f"{driver.name}-{regions}", np.concatenate([made.rows["still"], made.target, frames], axis=2))
            if heard is not None and name in ("model", "codec"):
                found["own" if name == "model" else "filmed"] = self.in_sync(frames, about, heard, float(driver.fps))
        found["once"] = followed(self.once.read(made.rows["model"], about), self.once.read(made.target, about))
        found["driver"] = {track: float(np.nanstd(values)) for track, values in drivers.tracks.items()}
        return found

    def speaks(self, portrait: Reference, sound: Path, other: Path) -> dict[str, Any]:
        """Offset and confidence of the lip-sync scorer, for the sound that drove and for another."""
        heard, swapped = (open_sound(str(path)).waveform(SPEECH_S) for path in (sound, other))
        frames = spoken(self.pipe, portrait, heard, self.sampling)
        reading = self.reader.read(frames, portrait.crop_points_px)
        if self.options.keep:
            self._show(f"speech-{sound.stem}", frames)
        result: dict[str, Any] = {"found": float(reading.found.mean()), "mouth_std": float(np.nanstd(reading.tracks["mouth"]))}
        for name, waveform in (("own", heard), ("swapped", swapped)):
            result[name] = self.in_sync(frames, portrait.crop_points_px, waveform, float(self.pipe.settings.fps))
        return result

    def in_sync(self, frames: np.ndarray, about_px: np.ndarray, waveform: np.ndarray, fps: float) -> dict[str, Any]:
        """Offset in frames at 25 a second and confidence of (F, H, W, 3) uint8 frames at `fps` against (N,) float32 sound at 16 kHz, their
        landmarks read as the scorer was trained on them, by one look."""
        points_px = self.once.read(frames, about_px).points_px
        shown = (np.arange(int(len(points_px) * VIDEO_HZ / fps)) * fps / VIDEO_HZ).astype(int)  # the scorer looks 25 times a second
        curve, windows = clip_curve(self.towers, points_px[shown], (waveform * 32767).astype(np.int16), fps)
        offset, confidence = read_curve(curve) if windows >= 30 and np.isfinite(curve).all() else (None, float("nan"))
        return {"offset": offset, "confidence": float(confidence)}

    def coded(self, picture: Path) -> dict[str, float]:
        """The codec on a portrait: clean, and after noise on its latents."""
        crop = self.open(picture).crop
        image = to_unit(torch.from_numpy(crop[None]).permute(0, 3, 1, 2))
        latents = self.codec.encode(image)
        noise = NOISE * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        result: dict[str, float] = {}
        for name, disturbance in (("clean", 0.0), ("noisy", noise)):
            decoded = self.codec.decode(latents + disturbance).clamp(0, 1)
            shown = (decoded * 255).round().byte().permute(0, 2, 3, 1).numpy()
            result |= {
                f"{name}_psnr": -10 * float(torch.log10((decoded - image).square().mean())),
                f"{name}_edges": edge_ratio(shown),
            }
        return result | {"own_edges": edge_ratio(crop[None])}

    def _show(self, name: str, frames: np.ndarray) -> None:
        from curation.samples.encode import write_mp4

        Path(self.options.keep).mkdir(parents=True, exist_ok=True)
        write_mp4(Path(self.options.keep) / f"{Path(name).stem}.mp4", frames, None)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, in the order of what a killed run would miss most."""
    bench = Bench(options)
    kept, record = Kept(Path(options.out) / "figures.json"), bench.pipe.record
    about = {
        "preset": options.preset,
        "seconds": options.seconds,
        "stage": record.stage,
        "step": record.step,
        "trained_on": record.trained_on,
        **{name: getattr(bench.pipe.settings, name) for name in ("most_steps", "most_guidance", "mouth_guidance", "sound_guidance")},
    }
    kept.belong_to(about | {"weights": digest_of_weights(Path(find_model(options.model)))})
    clips = single_face_clips(bench.corpus)
    if options.clip:
        clips = [path for path in clips if path.name in options.clip]
        if missing := set(options.clip) - {path.name for path in clips}:
            raise UserError(f"no clip of one face is called {', '.join(sorted(missing))}")
    clips = clips[:: max(1, len(clips) // options.clips)][: options.clips] if options.clips else clips
    pictures = portraits(bench.corpus)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731

    def each(kind: str, name: str, make: Callable[[], Any]) -> None:
        try:
            kept.get(f"{kind}/{name}", make)
            say(f"{kind}: {name}")
        except (UserError, ClipError) as error:
            say(f"{kind}: {name} left out: {error}")

    for picture in pictures:
        each("codec", picture.name, lambda picture=picture: bench.coded(picture))
    for path in clips:
        each("self", path.name, lambda path=path: bench.driven(bench.portrait_of(bench.clip(path)), bench.clip(path)))
        each("vector", path.name, lambda path=path: bench.identity(bench.portrait_of(bench.clip(path))))
    for picture in pictures:
        each("vector", picture.name, lambda picture=picture: bench.identity(bench.open(picture)))
    sounds = speech(bench.corpus)
    for k in range(min(options.speech, 2 * len(sounds)) if bench.pipe.transformer.sizes.with_audio else 0):
        picture, turn = pictures[k % len(pictures)], k + k // len(pictures)  # each round of the pictures with other sounds
        sound, other = sounds[turn % len(sounds)], sounds[(turn + 1) % len(sounds)]
        each(
            "speech",
            f"{picture.name} x {sound.name}",
            lambda p=picture, s=sound, o=other: bench.speaks(bench.open(p), s, o),
        )
    for k in range(min(options.pairs, len(clips))):
        picture, path = pictures[k % len(pictures)], clips[(k * 7 + 3) % len(clips)]
        each("pair", f"{picture.name} x {path.name}", lambda p=picture, c=path: bench.driven(bench.open(p), bench.clip(c)))
    if bench.pipe.transformer.sizes.with_audio:
        for path in clips[: options.both]:
            each("both", path.name, lambda c=path: bench.driven(bench.portrait_of(bench.clip(c)), bench.clip(c), "eyes", sound=True))
    return kept.values


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anyone", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", default="../shared/corpus", help="folder with clips.csv, portraits.csv, speech.csv")
    parser.add_argument("--model", help="a pipeline's folder; the packaged one, or what was trained here")
    parser.add_argument("--out", default="outputs/bench-anyone", help="figures are kept here")
    parser.add_argument("--clips", type=int, default=0, help="so many clips only, spread over all; 0 = all")
    parser.add_argument("--clip", action="append", metavar="FILE", help="this clip alone, by its file's name; may be given again")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--speech", type=int, default=NUM_SPEECH)
    parser.add_argument("--both", type=int, default=10, help="clips driven by their sound and eyes")
    parser.add_argument("--preset", default="balanced", help="as animate: paper, balanced or fast")
    parser.add_argument("--network", help="MobileFaceNet.tflite; fetched by npm if not given")
    parser.add_argument("--keep", help="keep videos here: portrait, driver, result")
    parser.add_argument("--docs", action="store_true", help="write docs/anyone.md and docs/anyone.json")
    options = parser.parse_args()
    try:
        figures = run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = page(figures)
    print(text)
    if options.docs:
        (DOCS / "anyone.md").write_text(text)
        shown = {name: value for name, value in figures.items() if not name.startswith("vector/")}
        (DOCS / "anyone.json").write_text(json.dumps(shown, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
