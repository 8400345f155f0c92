"""The DWPose landmark backend: a detector every few frames, people followed between, 133 points of each, 68 of them by the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from curation.contracts import Clip, Faces, Frame, MediaInfo
from curation.dwpose import pose
from curation.dwpose.detector import SIZE_PX, Person, PersonDetector
from curation.dwpose.people import PeopleFollower, PersonPath, faces_of, faces_on
from curation.dwpose.session import OnnxNetwork
from curation.dwpose.whole_body import save_whole_body
from curation.landmarks.choice import choose_faces, main_paths
from curation.onnx_session import require_provider
from curation.weights.store import ModelMissingError, Store
from curation.weights.table import load_table

DETECTOR, POSE = "dwpose-detector", "dwpose-pose"


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run; nothing here changes what is measured, beyond rounding.

    Attributes:
        provider: `cuda` or `cpu`; what is asked for runs, or the run ends with an error.
        detector_batch, pose_batch: pictures a run, where the graph leaves it free (the published YOLOX-l fixes one).
        detector_arena_mib, pose_arena_mib: bounds of the two sessions' memory on the GPU.
        context_mib: what CUDA and cuDNN take besides; with the two above, a worker's share of the GPU.
        models_dir: searched before $MEGACTOR_MODELS and the user's cache.
        models_table: a file like configs/models.yaml that names other weights of the same inputs and outputs.
    """

    provider: str = "cuda"
    detector_batch: int = 8
    pose_batch: int = 16
    detector_arena_mib: int = 2048
    pose_arena_mib: int = 2048
    context_mib: int = 768
    models_dir: str | None = None
    models_table: str | None = None

    def __post_init__(self) -> None:
        for name in ("detector_batch", "pose_batch", "detector_arena_mib", "pose_arena_mib"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} needs 1 or more")

    @property
    def gpu_memory_mib(self) -> int:
        """Of the GPU, by a worker; 0 on the CPU."""
        return self.detector_arena_mib + self.pose_arena_mib + self.context_mib if self.provider == "cuda" else 0

    def store(self) -> Store:
        standard = Store.standard(self.models_dir)
        return Store(standard.directories, load_table(Path(self.models_table))) if self.models_table else standard


@dataclass
class DWPose:
    """Landmarks by DWPose. One object a worker; `track` gives one tracker a clip.

    Attributes:
        detector_every_frames: sampled frames between two looks of the detector; where two looks disagree, it looks at each frame between.
        pose_every_frames: sampled frames between two runs of the pose network; between them points move in a straight line, which a mouth
            does not: leave it at 1 wherever lip movement is measured.
        min_person_score, max_person_iou: of the detector's boxes; 0.3 and 0.45 are DWPose's own.
        min_point_score, min_face_points: a face shows if so many of its 68 points score so much (0.3 is MegActor's; half the points
            show of a face in profile).
        max_people: of the people on a frame, the largest are posed; the one in the source's box is among them.
        resume_within_ms: a person found again about where they were lost is the same for so long.
        min_relative_size: faces smaller than this part of the main one do not count.
        refine: places SimCC's peaks between its bins (`pose.decode_simcc`); False is the reference's decoding.
        buffer_mib: frames held until the next look. Of pictures so large that they do not fit, each is looked at.
        whole_body_dir: where to keep all 133 points (`curation.dwpose.whole_body`); absolute on a cluster. None keeps the face only.
        runtime: where and how the networks run.

    Raises:
        ModelMissingError, ModelRefusedError: weights are missing or not what the table says.
        ProviderError: onnxruntime lacks the provider.
    """

    detector_every_frames: int = 5
    pose_every_frames: int = 1
    min_person_score: float = 0.3
    max_person_iou: float = 0.45
    min_point_score: float = 0.3
    min_face_points: int = 34
    max_people: int = 4
    resume_within_ms: float = 1000.0
    min_relative_size: float = 0.3
    refine: bool = True
    buffer_mib: int = 256
    whole_body_dir: str | None = None
    runtime: Runtime = field(default_factory=Runtime)
    name: str = field(default="", init=False)

    def __post_init__(self) -> None:
        for name in ("detector_every_frames", "pose_every_frames", "max_people", "buffer_mib", "min_face_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} needs 1 or more")
        store = self.runtime.store()
        missing = [name for name in (DETECTOR, POSE) if store.locate(name) is None]
        if missing:
            raise ModelMissingError(
                f"the weights of DWPose are not there: {', '.join(missing)}; get them with `make models PROFILE=paper`, or"
                f" `python -m curation models fetch {' '.join(missing)}` (--from DIR where there is no network), or use --profile embedded"
            )
        require_provider(self.runtime.provider)
        self._files = {name: store.find(name) for name in (DETECTOR, POSE)}
        digests = [store.verify(name, file)[:6] for name, file in self._files.items()]
        self.name = f"dwpose-1-{'-'.join(digests)}"

    @property
    def gpu_memory_mib(self) -> int:
        """Of the GPU, by a worker; 0 on the CPU."""
        return self.runtime.gpu_memory_mib

    @cached_property
    def detector(self) -> PersonDetector:
        runtime = self.runtime
        network = OnnxNetwork(
            self._files[DETECTOR], runtime.provider, runtime.detector_batch, (SIZE_PX, SIZE_PX), runtime.detector_arena_mib
        )
        return PersonDetector(network, self.min_person_score, self.max_person_iou)

    @cached_property
    def poser(self) -> pose.PoseNetwork:
        runtime = self.runtime
        network = OnnxNetwork(
            self._files[POSE], runtime.provider, runtime.pose_batch, (pose.HEIGHT_PX, pose.WIDTH_PX), runtime.pose_arena_mib
        )
        return pose.PoseNetwork(network, self.refine)

    def track(self, clip: Clip, info: MediaInfo) -> DWPoseTracker:
        """A fresh `FaceTracker` for one clip; the first call opens the sessions.

        Raises:
            ProviderError: a session does not run on the provider that was asked for.
        """
        _ = self.detector, self.poser
        return DWPoseTracker(self, clip, info)


class DWPoseTracker:
    """The faces of one clip (`contracts.FaceTracker`).

    Frames wait in a buffer for the next look of the detector, which tells where people are on the frames between; then the people are cut
    out, and wait until they fill a batch of the pose network. What is measured depends on neither batch size nor buffer.
    """

    def __init__(self, backend: DWPose, clip: Clip, info: MediaInfo):
        self._backend, self._clip, self._info = backend, clip, info
        self._face_box_px = clip.face_box_in(info.width_px, info.height_px)
        self._follower = PeopleFollower(backend.resume_within_ms)
        self._times_ms: list[float] = []
        frame_bytes = 3 * info.width_px * info.height_px
        fitting = (backend.buffer_mib << 20) // frame_bytes
        self._every = max(1, min(backend.detector_every_frames, fitting - 1))
        self._capacity = max(2, min(fitting, self._every * backend.detector.network.batch + 1))
        self._frames: dict[int, np.ndarray] = {}  # from the last look on
        self._looked = -1  # the last frame that was looked at
        self._jobs: list[tuple[PersonPath, int, np.ndarray, np.ndarray]] = []  # person, frame, box, crop
        self._n_cut = 0  # frames whose people were cut out
        self._n_told = 0  # frames that `take_seen` gave

    def on_frame(self, frame: Frame) -> None:
        self._frames[len(self._times_ms)] = np.array(frame.rgb)
        self._times_ms.append(frame.time_ms)
        if len(self._frames) >= self._capacity:
            self._look()

    def finish(self) -> Faces:
        self._look(last=True)
        self._run_poses(everything=True)
        backend = self._backend
        faces = faces_of(self._follower.paths, backend.pose_every_frames, backend.min_point_score, backend.min_face_points)
        times_ms = np.array(self._times_ms, np.float64)
        if backend.whole_body_dir is not None:
            _, main = main_paths(faces, len(times_ms), self._face_box_px)
            save_whole_body(backend.whole_body_dir, self._clip.clip_id, times_ms, main)
        size_px = (self._info.width_px, self._info.height_px)
        return choose_faces(faces, times_ms, size_px, self._face_box_px, backend.min_relative_size)

    def take_seen(self) -> list[np.ndarray]:
        backend, done = self._backend, self._jobs[0][1] if self._jobs else self._n_cut
        told, self._n_told = self._n_told, done
        return [faces_on(self._follower.paths, i, backend.min_point_score, backend.min_face_points) for i in range(told, done)]

    def _look(self, last: bool = False) -> None:
        """Run the detector on the frames whose turn it is, and pose the people up to the last of them."""
        end = len(self._times_ms) - 1
        looks = [i for i in range(self._looked + 1, end + 1) if i % self._every == 0 or (last and i == end)]
        for index, people in zip(looks, self._people(looks), strict=True):
            start = self._looked
            if start >= 0:
                if self._follower.agrees(start, people):
                    self._follower.bridge(start, index, self._times_ms[index], people)
                else:
                    between = range(start + 1, index)
                    for frame, found in zip(between, self._people(between), strict=True):
                        self._follower.link(frame, self._times_ms[frame], found)
                    self._follower.link(index, self._times_ms[index], people)
                self._pose(range(start, index))
            else:
                self._follower.link(index, self._times_ms[index], people)
            self._looked = index
            self._forget(index)
        if last and end >= 0:
            self._pose(range(end, end + 1))

    def _people(self, indices: range | list[int]) -> list[list[Person]]:
        """Those whom the detector sees on the frames, as far as they are posed."""
        found = self._backend.detector.detect([self._frames[i] for i in indices])
        if self._face_box_px is not None:
            x0, y0, x1, y1 = self._face_box_px
            meant = np.array([x0 + x1, y0 + y1]) / 2
            found = [sorted(people, key=lambda p: not ((p.box_px[:2] <= meant) & (meant <= p.box_px[2:])).all()) for people in found]
        return [people[: self._backend.max_people] for people in found]

    def _pose(self, frames: range) -> None:
        """Cut out who is to be posed on `frames`; where people are on the frame after is known by now."""
        every = self._backend.pose_every_frames
        for frame in frames:
            for path in self._follower.at(frame):
                boxes = path.boxes_by_frame
                first, final = frame - 1 not in boxes, frame + 1 not in boxes
                if final:
                    path.ends.add(frame)
                if first or final or frame % every == 0:
                    self._jobs.append((path, frame, boxes[frame], pose.crop(self._frames[frame], boxes[frame])))
            self._n_cut = frame + 1
            self._run_poses()

    def _run_poses(self, everything: bool = False) -> None:
        batch = self._backend.poser.network.batch
        while len(self._jobs) >= batch or (everything and self._jobs):
            chunk, self._jobs = self._jobs[:batch], self._jobs[batch:]
            points, scores = self._backend.poser.locate([crop for *_, crop in chunk], [box for _, _, box, _ in chunk])
            kept = slice(None) if self._backend.whole_body_dir is not None else pose.FACE
            for (path, frame, _, _), p, s in zip(chunk, points, scores, strict=True):
                path.posed[frame] = p[kept].copy(), s[kept].copy()

    def _forget(self, before: int) -> None:
        """Frames before the last look are done with; one box before it tells that a person was there already."""
        for frame in [f for f in self._frames if f < before]:
            del self._frames[frame]
        self._follower.forget(before - 1)
