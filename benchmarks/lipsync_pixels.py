"""A second opinion on how far real clips are out of sync: towers that see the mouth's pixels instead of its landmarks.

    python -m benchmarks.lipsync_pixels [OUT]

after `python -m benchmarks.lipsync_corpus`, whose OUT it shares. The pixels of the mouth, 40x30 grey, laid straight by eyes and nose alone,
are reduced to 60 principal components and take the place of the 25 mouth points; the towers are trained on the crops only, so that nobody
in `clips` was seen. Lip landmarks play no part. Prints both offsets of every judged clip, and how often they agree.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import manifests
from benchmarks.lipsync_corpus import JUDGED
from curation.contracts import Clip
from curation.landmarks.sixty_eight import RIGID
from curation.lipsync.evaluate import evaluate
from curation.lipsync.features import TEMPLATE
from curation.lipsync.footage import Footage, collect_footage

WIDTH_PX, HEIGHT_PX, COMPONENTS = 40, 30, 60
LEFT, TOP, UNIT_PX = -0.45, 0.55, WIDTH_PX / 0.9  # the window in the template's frame
LARGEST_EYES_PX = 110  # larger faces are halved first, against aliasing


def mouth_pixels(clip: Clip, points_px: np.ndarray) -> np.ndarray:
    """(T, 1200) float32 grey mouths of a clip, zero mean and unit spread each; zeros where no face is seen."""
    import cv2

    from curation.media import MediaReader

    out = np.zeros((len(points_px), HEIGHT_PX, WIDTH_PX), np.float32)
    with MediaReader() as reader, reader.read(clip, audio=False) as stream:
        for frame in stream.frames():
            if frame.index >= len(points_px) or not np.isfinite(points_px[frame.index]).all():
                continue
            image, points = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), points_px[frame.index].astype(np.float64)
            while np.linalg.norm(points[45] - points[36]) > LARGEST_EYES_PX:
                image, points = cv2.pyrDown(image), points / 2
            out[frame.index] = cv2.warpAffine(image, to_window(points), (WIDTH_PX, HEIGHT_PX))
    flat = out.reshape(len(out), -1)
    return (flat - flat.mean(axis=1, keepdims=True)) / (flat.std(axis=1, keepdims=True) + 5)


def to_window(points: np.ndarray) -> np.ndarray:
    """(2, 3) map from the picture to the mouth window, by eyes and nose alone."""
    z, target = points[RIGID, 0] + 1j * points[RIGID, 1], TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = z - z.mean()
    a = (centred.conj() * (target - target.mean())).sum() / (np.abs(centred) ** 2).sum()
    b = target.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real - LEFT], [a.imag, a.real, b.imag - TOP]]) * UNIT_PX


def augment(mouth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain of the whole and of single components, noise. (T, 60)."""
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.15, (1, mouth.shape[1])))
    return (mouth * gain + rng.normal(0, 0.2 * rng.random(), mouth.shape)).astype(np.float32)


def with_pixels(run: Path, clips: list[Footage], cache: Path) -> Iterator[tuple[Footage, np.ndarray]]:
    """Each clip with its (T, 1200) pixels; kept in `cache`."""
    rows = {row.clip_id: row for row in manifests.load(run).itertuples()}
    wanted = {clip.clip_id: clip for clip in clips}
    cache.mkdir(parents=True, exist_ok=True)
    for clip_id, landmarks in manifests.iter_landmarks(run):
        if clip_id not in wanted:
            continue
        path, row = cache / f"{clip_id}.npy", rows[clip_id]
        if not path.exists():
            clip = Clip(row.source, row.source_key, row.identity, row.video_path)
            np.save(path, mouth_pixels(clip, landmarks.points_px).astype(np.float16))
        yield wanted[clip_id], np.load(path).astype(np.float32)[: wanted[clip_id].n_frames]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("outputs/lipsync-corpus"))
    args = parser.parse_args()
    report_file = args.out / "trained" / "report.json"
    if not report_file.exists():
        parser.exit(2, f"error: {report_file} is missing: run `python -m benchmarks.lipsync_corpus` first\n")
    from curation.lipsync.fit import Recipe, fit

    run = args.out / "run"
    judged = set(manifests.load(run).query(JUDGED).clip_id)
    clips = collect_footage(run, "", args.out / "trained" / "features", print)
    people = {clip.identity for clip in clips if clip.clip_id in judged}
    pairs = list(with_pixels(run, [c for c in clips if c.key.startswith("crops/") or c.clip_id in judged], args.out / "pixels"))
    learn = [(clip, pixels - pixels.mean(axis=0)) for clip, pixels in pairs if clip.clip_id not in judged and clip.identity not in people]
    sample = np.concatenate([pixels[::6] for _, pixels in learn])
    basis = np.linalg.svd(sample, full_matrices=False)[2][:COMPONENTS].T  # (1200, 60)
    scale = np.sqrt((sample @ basis).std(axis=0))  # half-way to whitening: weak components carry the lips' detail, and the noise
    unit = ((sample @ basis) / scale).std()

    def as_footage(clip: Footage, pixels: np.ndarray) -> Footage:
        return replace(clip, mouth=((pixels - pixels.mean(axis=0)) @ basis / scale / unit).astype(np.float32))

    towers = fit([as_footage(*pair) for pair in learn], Recipe(), 0, "pixels", print, augment)
    second = {r.key: r for r in evaluate(towers, [as_footage(*pair) for pair in pairs if pair[0].clip_id in judged])}
    first = {r["key"]: r for r in json.loads(report_file.read_text())["cross_validation"]["results"]}
    print("landmarks  conf   pixels  conf  a second late  clip")
    for key in sorted(first, key=lambda key: first[key]["offset_frames"]):
        a, b = first[key], second[key]
        print(
            f"{a['offset_frames']:+9d}  {a['confidence']:.2f}  {b.offset_frames:+7d}  {b.confidence:.2f}  {b.wrong_confidence:13.2f}  {key}"
        )
    apart = np.array([abs(first[key]["offset_frames"] - second[key].offset_frames) for key in first])
    print(f"the two agree within 1 frame in {np.mean(apart <= 1):.0%} of {len(apart)} clips, within 2 frames in {np.mean(apart <= 2):.0%}")


if __name__ == "__main__":
    main()
