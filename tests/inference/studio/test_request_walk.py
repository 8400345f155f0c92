"""One animation followed by its request: how often it changes the file that it is in, and how often it comes back to one."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

from inference.studio.animate import animate
from inference.studio.request import Request
from tests.inference.animation_parts import tiny_pipeline
from tests.inference.driver_footage import PlantedBackend, write_video
from tests.inference.studio.request_walk import returns, stays


def test_a_request_walks_through_an_animation_without_going_to_and_fro(tmp_path: Path) -> None:
    """A portrait, a driver and a sound into an MP4. `-s` shows the way."""
    from PIL import Image

    write_video(tmp_path / "you.mp4", Fraction(25), 6)
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(tmp_path / "me.png")
    files = {"reference": "me.png", "driving": "you.mp4", "audio": "you.mp4", "out": "out.mp4"}
    request = Request.from_tree({"num_inference_steps": 1, **{key: str(tmp_path / name) for key, name in files.items()}})
    pipe = tiny_pipeline(landmarks=PlantedBackend())
    way = stays(request, lambda: animate(pipe, request))
    print("\n".join([*way, f"{len(way)} stays, {returns(way)} returns"]))
    assert way[0] == "inference/studio/animate.py"
    assert {"inference/pipeline/pipeline.py", "inference/driving/driving.py", "inference/output/video_writer.py"} <= set(way)
    assert len(way) < 25
    assert returns(way) < 8
