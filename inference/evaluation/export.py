"""From a manifest to a benchmark on disk: `pairs.jsonl`, and for every pair the files that a method is given, cut once for all methods.

    OUT/pairs.jsonl
    OUT/cut.json                   what the files were cut with
    OUT/clips/<name>.mp4           driving clip = real clip: face square, 25 fps, with sound; <name> is the pair's, or its clip's in a sweep
    OUT/clips/<name>.wav           its sound, 16 kHz mono
    OUT/references/<name>.png      the still to animate

Clips that are square already (materialised ones) are taken whole. A clip that cannot be cut is left out and named.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import manifests
from curation.contracts import AUDIO_RATE_HZ, ClipError, FileSpan
from curation.face_crop import NoFaceError, clip_square, crop_matrix, warp
from curation.media import MediaReader, span_of
from inference.driving.sound import ArraySound
from inference.evaluation.canonical import CANONICAL_HZ, SAME_SHAPE
from inference.evaluation.pairs import Pair, write_pairs
from inference.evaluation.protocols import PlannedPair, plan_pairs
from inference.output.video_writer import open_output
from manifests import UserError
from manifests.atomic import atomic_path

WHERE = "accepted and split == 'test'"
CUT_FILE = "cut.json"


def export_pairs(
    manifest: str | Path,
    protocol: str,
    out: str | Path,
    *,
    where: str = WHERE,
    size_px: int = 512,
    seed: int = 0,
    clips_per_identity: int = 3,
    longest_ms: int = 10_000,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes the benchmark; files that are there whole are kept, so that a killed call continues.

    Args:
        manifest: a run's directory or a manifest file.
        where: a pandas query: the clips to choose from.

    Returns: `OUT/pairs.jsonl`, which is written last.

    Raises:
        UserError: a mistake of the user's, or not one clip that could be cut.
    """
    df = manifests.load(manifest)
    try:
        chosen = df.query(where)
    except Exception as error:  # pandas raises whatever the expression raises
        raise UserError(f"--where {where!r} is no query that pandas understands: {' '.join(str(error).split())}") from None
    if chosen.empty:
        raise UserError(f"{manifest} has no clip with {where} ({len(df)} clips in all); --where takes another query")
    planned, left_out = plan_pairs(chosen, protocol, seed=seed, clips_per_identity=clips_per_identity, longest_ms=longest_ms)
    out = Path(out)
    for folder in ("clips", "references"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _claim(out, {"protocol": protocol, "size_px": size_px, "seed": seed, "longest_ms": longest_ms})
    pairs: list[Pair] = []
    with MediaReader() as reader:
        cutter = _Cutter(Path(manifest), out, size_px, reader)
        for number, plan in enumerate(planned, 1):
            try:
                pairs.append(cutter.cut(plan, protocol))
            except (ClipError, NoFaceError) as error:
                left_out.append(f"{plan.name} ({plan.row['source_key']}): {error}")
            if number % 10 == 0 or number == len(planned):
                say(f"{number} of {len(planned)} pairs cut")
    for line in left_out[:10]:
        say(f"left out {line}")
    if len(left_out) > 10:
        say(f"... and {len(left_out) - 10} more")
    if not pairs:
        raise UserError(f"not one pair could be cut; e.g. {left_out[0]}")
    return write_pairs(pairs, out)


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Writes what the files are cut with; files cut otherwise are not to be kept under the same names."""
    file = out / CUT_FILE
    if file.is_file():
        try:
            old = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            old = None
        if old != settings:
            raise UserError(f"{out} holds a benchmark that was cut otherwise ({old}, not {settings}); take another --out, or remove it")
        return
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(settings), encoding="utf-8")


class _Cutter:
    def __init__(self, manifest: Path, out: Path, size_px: int, reader: MediaReader):
        self._manifest, self._out, self._size_px, self._reader = manifest, out, size_px, reader

    def cut(self, plan: PlannedPair, protocol: str) -> Pair:
        name = plan.files or plan.name
        clip, sound = Path("clips") / f"{name}.mp4", Path("clips") / f"{name}.wav"
        reference = Path("references") / f"{name}.png"
        with_sound = self._clip(plan, clip, sound)
        self._still(plan, reference)
        with_pictures = "video" in plan.signal
        return Pair(
            pair_id=plan.name,
            protocol=protocol,
            identity=plan.row["identity"],
            reference_identity=plan.reference_row["identity"],
            reference=reference.as_posix(),
            driver=clip.as_posix() if with_pictures else "",
            audio=sound.as_posix() if with_sound and "audio" in plan.signal else "",
            real=clip.as_posix() if plan.has_real else "",
            signal=plan.signal if with_sound else "video",
            parameters=plan.parameters,
        )

    def _clip(self, plan: PlannedPair, clip: Path, sound: Path) -> bool:
        """Cuts the driving clip and its sound; whether it has any."""
        if not (self._out / clip).is_file():
            frames, audio = self._read(plan.row, plan.start_ms, plan.start_ms + plan.length_ms)
            if audio is not None:
                with atomic_path(self._out / sound) as temporary, _mono_wave(temporary) as stream:
                    stream.writeframes(audio.tobytes())
            spoken = None if audio is None else ArraySound(audio.astype(np.float32) / 32768)
            with open_output(self._out / clip, Fraction(int(CANONICAL_HZ)), len(frames), spoken) as writer:
                for frame in frames:
                    writer.write(frame)
        return (self._out / sound).is_file()

    def _still(self, plan: PlannedPair, reference: Path) -> None:
        import cv2

        if not (self._out / reference).is_file():
            end_ms = plan.reference_ms + round(2000 / CANONICAL_HZ)
            frame = self._read(plan.reference_row, plan.reference_ms, end_ms)[0][0]
            with atomic_path(self._out / reference) as temporary:
                temporary.write_bytes(cv2.imencode(".png", frame[..., ::-1])[1].tobytes())

    def _read(self, row: pd.Series, start_ms: int, end_ms: int) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Pictures and sound of a part of the row's clip."""
        matrix, clip = self._matrix(row), span_of({str(name): value for name, value in row.items()})
        to_the_end = clip.end_ms is None and end_ms >= row["duration_ms"]
        part = FileSpan(clip.video_path, clip.start_ms + start_ms, None if to_the_end else clip.start_ms + end_ms)
        with self._reader.read(part, CANONICAL_HZ) as stream:
            frames = [warp(frame.rgb, matrix, self._size_px) for frame in stream.frames()]
            audio = stream.audio
        return frames, audio

    def _matrix(self, row: pd.Series) -> np.ndarray:
        width, height = float(row["width_px"]), float(row["height_px"])
        if abs(width / height - 1) <= SAME_SHAPE:
            return np.array([[self._size_px / width, 0.0, 0.0], [0.0, self._size_px / height, 0.0]])
        return crop_matrix(clip_square(manifests.load_landmarks(self._manifest, row["clip_id"]).points_px), self._size_px)


@contextmanager
def _mono_wave(path: Path) -> Iterator[wave.Wave_write]:
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(AUDIO_RATE_HZ)
        yield stream
