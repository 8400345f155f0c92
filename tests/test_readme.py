"""The README's commands as they are printed, in its order, in a fresh clone; its set-up is this test's own environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.test_docs import ROOT, code_of

STAMPS = (".python", ".core", ".people", ".train")
VENV = Path(sys.prefix)
EXAMPLES = Path("inference/studio/examples")

# What a test cannot do, and why.
LEFT_OUT = {
    "make test": "is this",
    "make demo": "half an hour; tests/training/demo",
    "make setup-gpu": "network",
    "make doctor": "asks about a GPU; tests/training/test_doctor.py",
    "make models PROFILE=paper": "network; tests/curation/test_weights_store.py",
    "make plan-training CONFIG=paper": "1.4 B parameters; tests/training/cost",
    "make train STAGE=1 MANIFEST=outputs/mine OUT=runs/mine-s1": "minutes; tests/training/test_training_run.py",
    "make train CONFIG=paper": "GPU",
    "make curate SOURCE=hdtf ROOT=data/hdtf OUT=outputs/hdtf": "the data set is not at hand; tests/curation/test_source_corpus.py",
    "make adapt REFERENCE=me.png OUT=runs/me": "ten minutes",
    "make app": "does not end; tests/inference/studio/test_app.py",
    "make evaluate PRED=results/ours REAL=data/hdtf_test OUT=outputs/eval": "networks that must be fetched; tests/inference/evaluation",
    ".venv/bin/python -m inference.evaluation table outputs/eval": "the same",
    ".venv/bin/python -m inference.evaluation pairs outputs/hdtf --protocol strict --out data/hdtf_test": "wants six people and more",
    ".venv/bin/accelerate launch --num_processes 8 -m training --stage 1 --config paper --manifest outputs/hdtf-512 "
    "--out runs/hdtf-s1": "GPUs",
    ".venv/bin/python -m inference push OWNER/NAME --model runs/s3": "network; tests/inference/pipeline/test_hub_upload.py",
}
# What is run in a smaller way, or on what the commands before have made.
INSTEAD = {
    'make people ARGS="--count 600"': 'make people ARGS="--count 1 --seconds 1 --size 96 --workers 1"',
    "make materialise MANIFEST=outputs/hdtf OUT=outputs/hdtf-512": "make materialise MANIFEST=outputs/mine OUT=outputs/mine-512",
}


def commands_of(text: str) -> list[str]:
    """Of blocks and spans, without comments, in the order of the page; each once."""
    lines = [re.split(r"\s+#", line)[0].strip() for code in code_of(text) for line in code.splitlines()]
    found = sorted((line for line in lines if line.startswith(("make ", ".venv/bin/"))), key=text.find)
    return list(dict.fromkeys(" ".join(line.split()) for line in found))


README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = commands_of(README)


def test_what_is_left_out_or_changed_stands_in_the_readme() -> None:
    assert len(COMMANDS) > 20
    assert not ({*LEFT_OUT, *INSTEAD} - set(COMMANDS))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists() or not shutil.which("git") or not shutil.which("make"):
        pytest.skip("needs git, make and a checkout")
    return cloned(tmp_path_factory.mktemp("fresh") / "clone")


def cloned(clone: Path) -> Path:
    """The last commit in a folder of its own, with a portrait, a driver and a voice beside it as a newcomer has them."""
    import av
    import cv2

    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    (clone / ".venv").mkdir()
    for part in VENV.iterdir():
        if part.name not in STAMPS:
            (clone / ".venv" / part.name).symlink_to(part)
    for stamp in STAMPS:
        (clone / ".venv" / stamp).touch()
    cv2.imwrite(str(clone / "me.png"), cv2.imread(str(ROOT / EXAMPLES / "portrait_1.jpg")))
    with av.open(str(ROOT / EXAMPLES / "speaks.mp4")) as source, av.open(str(clone / "you.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        for i, frame in enumerate(source.decode(video=0)):
            if i == 8:
                break
            if i == 0:
                stream.width, stream.height = frame.width, frame.height
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
        out.mux(stream.encode())
    with wave.open(str(clone / "speech.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(np.random.default_rng(0).integers(-3000, 3000, 4800, np.int16).tobytes())
    return clone


def own_videos(clone: Path) -> None:
    """my/videos: two of the sample clips that `make curate` has rendered."""
    folder = clone / "my" / "videos"
    if not folder.exists() and (clone / "outputs" / "samples").exists():
        folder.mkdir(parents=True)
        for file in sorted((clone / "outputs" / "samples").rglob("clean_*.mp4"))[:2]:
            shutil.copy(file, folder)


def first_clip(clone: Path) -> str:
    import manifests

    return manifests.load(clone / "outputs" / "mine").clip_id[0]


def run(clone: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "setting up" not in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in LEFT_OUT])
def test_a_command_runs_as_it_is_printed(clone: Path, command: str) -> None:
    own_videos(clone)
    command = INSTEAD.get(command, command)
    if "CLIP_ID" in command:
        command = command.replace("CLIP_ID", first_clip(clone))
    run(clone, "bash", "-c", command)
    for out in re.findall(r" OUT=(out\.mp4|outputs/[\w-]+|runs/[\w-]+)", command):
        assert (clone / out).exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_manifest_in_pandas_runs_as_it_is_printed(clone: Path) -> None:
    """After `make curate`; the lines of other tools have tests/manifests/test_manifest_foreign.py."""
    (block,) = [code for code in code_of(README) if code.startswith("import manifests")]
    run(clone, ".venv/bin/python", "-c", block + "\nprint(len(df))")
