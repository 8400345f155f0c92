"""A driver from the public-domain portrait of the sample clips: the picture rolls and shifts as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation.face_crop import warp
from curation.samples.portrait import load_picture, portrait_path
from inference.driving.amplitude import Motion

SIZE = 256
CENTRE = np.array([226.0, 110.0])  # of the face on the portrait


def write_moving_portrait(folder: Path, n_frames: int, fps: int = 25) -> tuple[str, str]:
    """Writes driver.mp4, at whose end the head is rolled by 12° and shifted; returns the paths of the portrait and of the driver."""
    import av

    t = np.linspace(0, 1, n_frames)
    shift = np.stack([14 * t, 6 * t], axis=1)
    maps = Motion(np.radians(12) * t, np.zeros(n_frames), np.ones((n_frames, 2)), shift, CENTRE).matrices()
    rgb = load_picture()
    zoom = SIZE / 230
    to_clip = np.array([[zoom, 0, SIZE / 2 - zoom * CENTRE[0]], [0, zoom, SIZE / 2 - zoom * CENTRE[1]]])
    path = folder / "driver.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "12"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        for matrix in maps:
            whole = np.column_stack([to_clip[:, :2] @ matrix[:, :2], to_clip[:, :2] @ matrix[:, 2] + to_clip[:, 2]])
            container.mux(video.encode(av.VideoFrame.from_ndarray(warp(rgb, whole, SIZE), format="rgb24")))
        container.mux(video.encode(None))
    return str(portrait_path()), str(path)
