"""`python -m benchmarks.evaluation`: an evaluation's videos a second beside the floor of its decoding and its networks.

Floor: what the same rows cannot do without, measured alone on what is ready in memory: decoding and landmarks of every file once, FID's
features of every distinct set of pictures once, LPIPS of every row. Weights that are absent are random ones in the published layout, which
cost the same time; the line says which. I3D, VideoMAE, ArcFace and SyncNet take part only where their weights are (SyncNet has a benchmark
of its own). Clips are drawn.

`--bias` measures no time: it prints what small samples do to a Fréchet distance, how often intervals cover the truth, and how many
identities a claim needs. Simulated features are Gaussian, with falling spectra as networks' features have them; the true distance is 0.
`--coverage` does the same for intervals of metrics that are bounded and skewed, at 6 to 40 identities.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from curation.contracts import Clip, Frame
from curation.landmarks import make_backend
from curation.media import MediaReader
from curation.samples.encode import write_mp4
from curation.samples.portrait import load_picture
from curation.weights.store import Store
from inference.evaluation.benchmark import pairs_of_folder
from inference.evaluation.canonical import Canonicaliser
from inference.evaluation.controls import CONTROLS
from inference.evaluation.frechet import extrapolated, frechet_distance
from inference.evaluation.judge import FEATURES_DIR, Settings
from inference.evaluation.metrics.base import Judged
from inference.evaluation.metrics.registry import load_metrics, settings_for
from inference.evaluation.run import evaluate
from inference.evaluation.statistics import identities_needed, mean_interval, sign_flip_p

STAND_INS = {
    "inception": "weights-inception-2015-12-05-6726825d.pth",
    "lpips-alexnet": "alexnet-owt-7be5be79.pth",
}
WEIGHTLESS = ("face_motion", "amplitude", "stability", "lipsync")
FALSE_CLAIM_RUNS = 20_000
BETWEEN_SD, WITHIN_SD = 0.9, 0.6  # of a Sync-C-like score


def put_stand_ins(models: Path) -> list[str]:
    """Random weights for what is missing of `STAND_INS`, in a store of their own; their names."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import alexnet

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_, **__):
            """Keeps the weights of the constructor."""

    def inception(folder: Path) -> dict[str, torch.Tensor]:
        torch.save({}, folder / "none.pth")
        return Untrained("untrained", ["2048"], feature_extractor_weights_path=str(folder / "none.pth")).state_dict()

    missing = [name for name in STAND_INS if not _is_there(name)]
    for name in missing:
        with tempfile.TemporaryDirectory() as folder:
            state = inception(Path(folder)) if name == "inception" else alexnet(weights=None).state_dict()
            torch.save(state, Path(folder) / STAND_INS[name])
            Store.standard(models).fetch(name, origin=Path(folder))
    return missing


def _is_there(name: str) -> bool:
    from manifests.errors import UserError

    try:
        Store.standard(None).find(name)
    except UserError:
        return False
    return True


def speed(n_clips: int, n_methods: int, n_frames: int, size_px: int) -> None:
    """Draws clips, measures floor and evaluation, prints both."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        random = put_stand_ins(root / "models")
        names = ("fid", "lpips_alex", *WEIGHTLESS)
        settings = Settings(names, size_px, 60_000, metric_settings=settings_for("cpu", str(root / "models") if random else None))
        folders = [root / folder for folder in ("real", *(f"method{i}" for i in range(n_methods)))]
        for folder in folders:
            folder.mkdir()
            for i in range(n_clips):
                _draw(folder / f"person{chr(97 + i)}.mp4", size_px, n_frames, [i])
        floors = _floors(folders, settings)
        began = time.perf_counter()
        found = evaluate(folders[1:], pairs_of_folder(folders[0]), root / "eval", settings)
        seconds = time.perf_counter() - began
        computed = len(list((root / "eval" / FEATURES_DIR).rglob("*.safetensors")))
        asked = 2 * sum(row["status"] == "scored" for row in found.rows)
        began = time.perf_counter()
        evaluate(folders[1:], pairs_of_folder(folders[0]), root / "eval", settings)
        again_s = time.perf_counter() - began
    n_rows, floor_s = len(found.rows), sum(floors.values())
    print(
        f"{n_clips} clips of {n_frames} frames at {size_px} px, {n_methods} methods and {len(CONTROLS)} controls: {n_rows} rows, 1 thread"
    )
    if random:
        print(f"random weights in the published layout stand in for: {', '.join(random)}")
    print("floor: " + ", ".join(f"{part} {s:.1f} s" for part, s in floors.items()) + f"; {n_rows / floor_s:.2f} videos/s")
    print(f"achieved: {seconds:.1f} s, {n_rows / seconds:.2f} videos/s, {floor_s / seconds:.0%} of the floor's speed")
    print(f"FID features computed {computed} times for {asked} uses; the same call again: {again_s:.2f} s")


def _draw(path: Path, size_px: int, n_frames: int, seed: list[int]) -> None:
    """A head that sways, with noise for sound; another motion for another seed."""
    rng = np.random.default_rng([*seed, *path.parent.name.encode()])
    face = cv2.resize(load_picture()[:320, 64:384], (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    shifts = np.cumsum(rng.normal(0, 0.7, (n_frames, 2)), axis=0)
    maps = [np.float32([[1, 0, x], [0, 1, y]]) for x, y in shifts]
    frames = [cv2.warpAffine(face, one, (size_px, size_px), borderMode=cv2.BORDER_REPLICATE) for one in maps]
    write_mp4(path, frames, (rng.normal(size=640 * n_frames) * 3000).astype(np.int16))


def _floors(folders: list[Path], settings: Settings) -> dict[str, float]:
    """Seconds of each part that cannot be left out."""
    files = [file for folder in folders for file in sorted(folder.glob("*.mp4"))]
    metrics = load_metrics(settings.metrics, settings.metric_settings)
    fid = metrics.features[0]
    lpips = next(one for one in metrics.clip if one.name == "lpips_alex")

    def decode() -> None:
        with MediaReader() as reader:
            for file in files:
                with reader.read(Clip("", file.name, file.name, str(file)), sample_hz=25.0) as stream:
                    for _ in stream.frames():
                        pass

    with Canonicaliser(make_backend(settings.landmarks), settings.size_px) as canonicaliser:
        clip = canonicaliser.real(files[0])
        backend = canonicaliser.backend

        def landmarks() -> None:
            tracker = backend.track(Clip("", "x", "x", "x"), clip.info)
            for index, rgb in enumerate(clip.frames):
                tracker.on_frame(Frame(index, 40.0 * index, rgb))
            tracker.finish()

        n_clips = len(files) // len(folders)
        pictures = n_clips * (len(folders) + 2)  # real, re-encoded and static, and every method's
        rows = n_clips * (len(folders) - 1 + len(CONTROLS))
        fid.features(clip.frames[:1])  # warm
        return {
            "decode": _timed(decode),
            "landmarks": len(files) * _timed(landmarks),
            "FID": pictures * _timed(lambda: fid.features(clip.frames)),
            "LPIPS": rows * _timed(lambda: lpips.score(Judged(clip, clip))),
        }


def _timed(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def bias(repeats: int) -> None:
    """Prints the tables of docs/evaluation.md."""
    rng = np.random.default_rng(0)
    print("Fréchet distance of two samples of one distribution (true distance 0), in units of the features' total variance:")
    print(f"{'features':24} {'N':>5} {'unpaired':>9} {'extrapolated':>13} {'paired':>8}")
    for label, dims, sizes in (("FVD-type, 400-d", 400, (40, 100, 256, 512, 2048)), ("FID-type, 2048-d", 2048, (100, 500, 1000))):
        for power in (0.8, 1.2):
            scales = np.arange(1, dims + 1) ** (-power / 2)
            scales = scales / np.sqrt((scales**2).sum())
            for n in sizes:
                figures = []
                for run in range(repeats):
                    real = rng.standard_normal((n, dims)) * scales
                    other = rng.standard_normal((n, dims)) * scales
                    near = np.sqrt(0.99) * real + 0.1 * other  # an answer whose features follow its clip's at correlation 0.995
                    one = extrapolated(other, real, repeats=2, seed=run)
                    figures.append((one.measured, one.at_infinity, frechet_distance(near, real)))
                unpaired, at_infinity, paired = np.mean(figures, axis=0)
                print(f"{label + f', k^-{power}':24} {n:5} {unpaired:9.3f} {at_infinity:13.3f} {paired:8.4f}", flush=True)
    print("\n95 % intervals of a mean over clips (1 to 5 an identity), 1000 runs each: how often they hold the true mean, and their width;")
    print(f"and how often two copies of one method differ at p <= 0.05, {FALSE_CLAIM_RUNS:,} runs each (standard error 0.15):")
    print(f"{'identities':>10} {'cluster':>8} {'clips as if independent':>24} {'width':>6} {'false claims':>13}")
    for n in (10, 20, 40, 100):
        held, naive, width = 0, 0, 0.0
        for run in range(1000):
            values, who = _scores(rng, n)
            interval = mean_interval(values, who, resamples=400, seed=run)
            alone = mean_interval(values, range(len(values)), resamples=400, seed=run)
            held += interval.low <= 0 <= interval.high
            naive += alone.low <= 0 <= alone.high
            width += (interval.high - interval.low) / 1000
        false = 100 * np.mean([_claims_a_difference(rng, n, run) for run in range(FALSE_CLAIM_RUNS)])
        print(f"{n:10} {held / 10:7.1f}% {naive / 10:23.1f}% {width:6.2f} {false:12.2f}%", flush=True)
    print(
        "\nidentities that a paired comparison needs (5 %, power 80 %), by the difference over its standard deviation between identities:"
    )
    print("  ".join(f"{d:g}: {identities_needed(d, 1.0)}" for d in (1.0, 0.8, 0.5, 0.3, 0.2, 0.1)))


METRIC_KINDS: dict[str, tuple[tuple[float, float], float | None]] = {  # bounds; the true mean, None is simulated
    "normal": ((-math.inf, math.inf), 0.0),
    "error, exponential": ((0.0, math.inf), 1.0),
    "error, log-normal": ((0.0, math.inf), math.exp(0.17)),
    "LPIPS, log-normal": ((0.0, math.inf), math.exp(0.0425)),
    "Sync-D, above 0": ((0.0, math.inf), 8.0),
    "SSIM, Beta(30, 3)": ((-1.0, 1.0), 30 / 33),
    "share, Beta(9, 1)": ((0.0, 1.0), 0.9),
    "share, Beta(0.5, 0.5)": ((0.0, 1.0), 0.5),
    "correlation, about 0.78": ((-1.0, 1.0), None),
    "correlation, about 0.94": ((-1.0, 1.0), None),
}


COUNTS = (6, 10, 20, 40)  # identities


def coverage(n_runs: int) -> None:
    """Prints how often 95 % intervals hold the true mean of metrics of several kinds; 1 to 5 clips an identity."""
    error = 100 * (0.95 * 0.05 / n_runs) ** 0.5
    print(f"95 % intervals, {n_runs} runs each: how often they hold the true mean (standard error {error:.1f} points)")
    print(f"{'metric':24}" + "".join(f"{n:>7}" for n in COUNTS))
    for kind in METRIC_KINDS:
        print(f"{kind:24}" + "".join(f"{100 * coverage_of(kind, n, n_runs):6.1f}%" for n in COUNTS), flush=True)


def coverage_of(kind: str, n_identities: int, n_runs: int) -> float:
    """Share of `n_runs` simulated evaluations whose 95 % interval holds the true mean."""
    bounds, truth = METRIC_KINDS[kind]
    if truth is None:
        truth = float(_of_kind(np.random.default_rng(9), 400_000, kind)[0].mean())
    rng = np.random.default_rng(n_identities)
    intervals = (mean_interval(*_of_kind(rng, n_identities, kind), bounds=bounds, resamples=400, seed=run) for run in range(n_runs))
    return sum(one.low <= truth <= one.high for one in intervals) / n_runs


def _of_kind(rng: np.random.Generator, n_identities: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores that differ between identities and between the clips of one, and whose they are."""
    if kind == "normal":
        return _scores(rng, n_identities)
    who = np.repeat(np.arange(n_identities), rng.integers(1, 6, n_identities))
    noise = 0.3 * rng.standard_normal(len(who))
    if kind == "error, exponential":
        return rng.exponential(1, n_identities)[who] * rng.gamma(4, 0.25, len(who)), who
    if kind == "error, log-normal":
        return np.exp(0.5 * rng.standard_normal(n_identities)[who] + noise), who
    if kind == "LPIPS, log-normal":
        return np.exp(0.25 * rng.standard_normal(n_identities)[who] + noise / 2), who
    if kind == "Sync-D, above 0":
        return 8 + rng.gamma(2, 0.7, n_identities)[who] - 1.4 + 2 * noise, who
    if "Beta" in kind:
        shape = (30, 3) if "30" in kind else (9, 1) if "9" in kind else (0.5, 0.5)
        share = rng.beta(*shape, n_identities)[who]
        return rng.beta(20 * share + 1e-9, 20 * (1 - share) + 1e-9), who
    middle, spread = (1.2, 0.5) if "0.78" in kind else (2.0, 0.6)
    return np.tanh(middle + spread * rng.standard_normal(n_identities)[who] + noise), who


def _claims_a_difference(rng: np.random.Generator, n_identities: int, seed: int) -> bool:
    """Whether the test finds one at the 5 % level between two copies of one method."""
    values, who = _scores(rng, n_identities)
    a, b = (values + 0.4 * rng.standard_normal(len(values)) for _ in range(2))
    return sign_flip_p(a, b, who, resamples=299, seed=seed) <= 0.05


def _scores(rng: np.random.Generator, n_identities: int) -> tuple[np.ndarray, np.ndarray]:
    who = np.repeat(np.arange(n_identities), rng.integers(1, 6, n_identities))
    return BETWEEN_SD * rng.standard_normal(n_identities)[who] + WITHIN_SD * rng.standard_normal(len(who)), who


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4, help="up to 26, each another person")
    parser.add_argument("--methods", type=int, default=2)
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--size", type=int, default=512, help="px")
    parser.add_argument("--bias", action="store_true", help="print the simulated tables instead")
    parser.add_argument("--coverage", action="store_true", help="print how often intervals of bounded and skewed metrics hold the truth")
    parser.add_argument("--runs", type=int, default=1000, help="of --coverage")
    parser.add_argument("--repeats", type=int, default=3, help="of the simulated bias")
    arguments = parser.parse_args()
    if arguments.coverage:
        coverage(arguments.runs)
    elif arguments.bias:
        bias(arguments.repeats)
    else:
        speed(arguments.clips, arguments.methods, arguments.frames, arguments.size)


if __name__ == "__main__":
    main()
