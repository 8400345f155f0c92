"""SyncNet: Sync-C, Sync-D and audio-video offset as `joonson/syncnet_python` defines them. See `docs/syncnet.md`."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.config import digest
from curation.contracts import Evidence, Frame, MediaInfo, Scorer
from curation.silence import is_silent
from curation.syncnet.box_map import SHIPPED_MAP, BoxMap, load_map
from curation.weights import Store
from manifests import column
from manifests.errors import did_you_mean

if TYPE_CHECKING:
    from curation.syncnet.clip import TrackScore
    from curation.syncnet.network import Embedder
    from curation.syncnet.s3fd import FaceDetector
    from curation.syncnet.stream import LipStream

_CROPS = ("fast", "exact")
_VIDEO_HZ = 25
_CONTEXT_MIB, _MIB_PER_WINDOW, _DETECTOR_MIB = 768, 12, 256


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run; nothing here changes what is measured, beyond rounding.

    Attributes:
        device: `cuda`, `cuda:1`, ... or `cpu`; what is asked for runs, or the run ends with an error.
        models_dir: searched before $MEGACTOR_MODELS and the user's cache.
        windows_at_once: of the lip tower; 12 MiB each.
        detector_batch: pictures that S3FD sees at once, in `exact` mode.
    """

    device: str = "cuda"
    models_dir: str | None = None
    windows_at_once: int = 32
    detector_batch: int = 4

    def __post_init__(self) -> None:
        kind, _, number = self.device.partition(":")
        if kind not in ("cuda", "cpu") or (number and not number.isdecimal()):
            raise ValueError(f"device is {self.device!r}; known: cpu, cuda, cuda:N")
        if self.windows_at_once < 1 or self.detector_batch < 1:
            raise ValueError("windows_at_once and detector_batch need 1 or more")


@dataclass
class Networks:
    """What a worker loads once. `detector` is None in `fast` mode."""

    embedder: Embedder
    detector: FaceDetector | None


@dataclass
class SyncNetScorer(Scorer):
    """`sync_c`, `sync_d`, `av_offset_frames` and `sync_windows` of the face track that fits the sound best, and what the others score.

    All are null without the published weights (`notice` says which command gets them; weights of one's own making are refused by their
    digest), without an audio stream, and at a sampling rate other than 25 Hz. `sync_tracks` is 0, and the others are null, where no track
    is long and large enough. Digital silence has no offset. `sync_track_ratio` is the share of the clip's frames that the track covers
    whose scores stand in the row: of a long clip of many shots it may be one of two seconds.

    Attributes:
        crop: `fast` crops where a fitted map sees the face box in the landmarks of each face; `exact` finds faces with S3FD, as published.
        min_track_frames: a track needs more detections (50 in LatentSync and in the `syncnet-python` package, 100 in
            `joonson/syncnet_python`).
        min_face_size_px: the larger of a track's mean width and height must exceed this.
        box_map: a file of `python -m curation fit-sync-boxes`; empty = the map that ships.
        runtime: where and how the networks run.
    """

    name = "syncnet"
    version = 2
    columns = tuple(
        column(name)
        for name in (
            "sync_c",
            "sync_d",
            "av_offset_frames",
            "sync_windows",
            "sync_track_ratio",
            "sync_c_runner_up",
            "sync_tracks",
            "sync_track_scores",
        )
    )

    crop: str = "fast"
    min_track_frames: int = 50
    min_face_size_px: float = 100.0
    box_map: str = ""
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        if self.crop not in _CROPS:
            raise ValueError(f"crop is {self.crop!r}{did_you_mean(self.crop, _CROPS)}")
        if self.min_track_frames < 5:
            raise ValueError("min_track_frames needs 5 or more: a window is five frames")
        self._stream: LipStream | None = None
        self._unseen: list[np.ndarray] = []
        self._size_px = (0, 0)

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]  # S3FD needs nobody's landmarks
        return frozenset({"frames", "audio"} if self.crop == "exact" else {"frames", "tracks", "audio"})

    @property
    def gpu_memory_mib(self) -> int:
        """What the networks may take of a GPU; 0 on the CPU and where they do not run."""
        if self.runtime.device == "cpu" or self.notice:
            return 0
        detector = _DETECTOR_MIB * self.runtime.detector_batch if self.crop == "exact" else 0
        return _CONTEXT_MIB + _MIB_PER_WINDOW * self.runtime.windows_at_once + detector

    @cached_property
    def store(self) -> Store:
        return Store.standard(self.runtime.models_dir)

    @property
    def _needed(self) -> tuple[str, ...]:
        return ("syncnet", "s3fd") if self.crop == "exact" else ("syncnet",)

    @cached_property
    def notice(self) -> str:
        """Why the columns stay null, and the command that changes it; empty if they do not."""
        missing = [name for name in self._needed if self.store.locate(name) is None]
        if missing:
            get = f"`python -m curation models fetch {' '.join(missing)}` (--from DIR where there is no network)"
            return f"no Sync-C and Sync-D: the weights {' and '.join(missing)} are not there; get them by {get}"
        if importlib.util.find_spec("torch") is None:
            return "no Sync-C and Sync-D: SyncNet needs torch; `make setup-train`, or `pip install -e '.[train]'` in the environment"
        return ""

    @cached_property
    def model_name(self) -> str:
        """Names weights and crop; empty where SyncNet does not run."""
        if self.notice:
            return ""
        weights = self.store.verify("syncnet", self.store.find("syncnet"))[:8]
        return f"syncnet_v2-{weights}-{self._crop_name}"

    @property
    def _crop_name(self) -> str:
        return "exact" if self.crop == "exact" else f"fast-{digest(self._boxes.coefficients.tolist())[:6]}"

    @cached_property
    def _boxes(self) -> BoxMap:
        return load_map(self.box_map or SHIPPED_MAP)

    @cached_property
    def networks(self) -> Networks | None:
        """The networks on their device; None where they do not run.

        Raises:
            UserError: no such device, or weights that are not what they should be.
        """
        if self.notice:
            return None
        from curation.syncnet.network import Embedder, SyncNet
        from curation.syncnet.s3fd import S3FD, FaceDetector
        from curation.syncnet.weights import load_weights, require_device

        device = self.runtime.device
        require_device(device)
        embedder = Embedder(load_weights(SyncNet(), self.store.find("syncnet")), device, self.runtime.windows_at_once)
        detector = None
        if self.crop == "exact":
            detector = FaceDetector(load_weights(S3FD(), self.store.find("s3fd")), device)
        return Networks(embedder, detector)

    def begin(self, info: MediaInfo) -> None:
        self._stream, self._unseen = None, []
        if info.has_audio and (networks := self.networks) is not None:
            from curation.syncnet.stream import LipStream

            self._size_px = (info.width_px, info.height_px)
            self._stream = LipStream(networks.embedder, min_track_frames=self.min_track_frames, min_face_size_px=self.min_face_size_px)

    def on_frame(self, frame: Frame) -> None:
        if self._stream is None:
            return
        self._stream.add_frame(frame.rgb)
        if (detector := self._required().detector) is not None:
            self._unseen.append(detector.prepare(frame.rgb))
            if len(self._unseen) >= self.runtime.detector_batch:
                self._detect()

    def on_faces(self, points_px: np.ndarray) -> None:
        if self._stream is not None:
            self._stream.add_boxes(self._boxes(points_px))

    def finish(self, evidence: Evidence) -> dict[str, Any]:
        stream, self._stream = self._stream, None
        if stream is None or evidence.audio is None or evidence.sample_hz != _VIDEO_HZ:
            return {}
        from curation.syncnet.clip import score_tracks

        self._stream = stream
        self._detect()
        self._stream = None
        row = self._row(score_tracks(self._required().embedder, stream.finish(), evidence.audio), len(evidence.faces.times_ms))
        return row | {"av_offset_frames": None} if is_silent(evidence.audio) else row

    def _detect(self) -> None:
        detector = self._required().detector
        if self._unseen and detector is not None and self._stream is not None:
            for faces in detector.detect(self._unseen, self._size_px):
                self._stream.add_boxes(faces[:, :4])
            self._unseen = []

    def _required(self) -> Networks:
        if self.networks is None:
            raise RuntimeError("a stream is open, but there are no networks")
        return self.networks

    def _row(self, tracks: list[TrackScore], n_frames: int) -> dict[str, Any]:
        ranked = sorted(tracks, key=lambda track: -track.score.sync_c)
        row: dict[str, Any] = {"sync_tracks": len(ranked)}
        if ranked:
            best = ranked[0].score
            row |= {"sync_c": best.sync_c, "sync_d": best.sync_d, "av_offset_frames": best.offset_frames, "sync_windows": best.n_windows}
            row["sync_track_ratio"] = min(1.0, ranked[0].track.n_frames / max(1, n_frames))
            row["sync_track_scores"] = json.dumps([track.facts() for track in tracks])
        if len(ranked) > 1:
            row["sync_c_runner_up"] = ranked[1].score.sync_c
        return row
