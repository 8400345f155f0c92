"""How many of our files a step leads through: `python -m tests.training.loop.test_way` prints them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from tests.training.fakes import make_trainer  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
OURS = tuple(str(ROOT / package) for package in ("manifests", "curation", "inference", "training"))
LOOP = str(ROOT / "training")


def files_of_a_step(stage: int, folder: Path) -> tuple[set[str], set[str]]:
    """(files of ours that the second step enters, those of them that a reader of the trainer opens: what is in `training`, and what code
    there calls directly; the model behind its `forward` is one)."""
    trainer = make_trainer(folder, stage, steps=4)
    batches = trainer._batches(0)
    trainer._step(batches)
    drawn = iter([next(batches)])  # in training the loader's processes draw it
    entered: set[str] = set()
    opened: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(OURS):
            return
        entered.add(file)
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith((*OURS, str(ROOT / "tests"))):
            caller = caller.f_back  # torch's own frames, between a module and its forward
        if file.startswith(LOOP) or (caller is not None and caller.f_code.co_filename.startswith(LOOP)):
            opened.add(file)

    sys.setprofile(note)
    try:
        trainer._step(drawn)
    finally:
        sys.setprofile(None)
    own = str(ROOT)
    return {str(Path(file).relative_to(own)) for file in entered}, {str(Path(file).relative_to(own)) for file in opened}


@pytest.mark.parametrize("stage", [1, 3])
def test_a_step_leads_through_few_files(stage, tmp_path) -> None:
    entered, opened = files_of_a_step(stage, tmp_path)
    assert len(opened) < 15, sorted(opened)
    assert len({file for file in opened if file.startswith("training/")}) <= 8, sorted(opened)
    assert len(entered) < 24, sorted(entered)


if __name__ == "__main__":
    for number in (1, 2, 3):
        everything, reading = files_of_a_step(number, Path(tempfile.mkdtemp()))
        print(f"stage {number}: {len(reading)} opened, {len(everything)} with the inside of the model")
        print("  " + ", ".join(sorted(reading)))
