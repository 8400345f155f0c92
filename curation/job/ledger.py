"""The ledger of a run: shards of rows that are committed whole, by a rename or one upload, or not at all.

The directory lies on a disk or in an object store (any URL that fsspec can write to).

Layout of a run's directory::

    run.yaml              the resolved configuration, the source, the number of shards
    ledger/00012.parquet  committed rows of shard 12; its metadata say which clips and which versions of each scorer
    landmarks/00012.parquet
    inflight/00012.json   the clip that a worker has in hand, to find clips that kill workers
    manifest.parquet      all rows, written when the run ends
    report.html
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

import manifests
from curation.config import digest
from curation.contracts import Clip, Faces, ScoredClip
from curation.faces import SpooledFaces
from curation.job.lock import hold
from manifests import Column
from manifests.atomic import put
from manifests.errors import UserError
from manifests.places import Place, is_url, one_line, place
from manifests.tables import to_frame, to_table

MAX_AUTO_SHARD_CLIPS = 128  # bounds what a killed worker has to do again
AUTO_SHARDS = 64  # enough to keep tens of workers busy to the end
BRIEF_COLUMNS = ("clip_id", "file_stamp", "status", "error_kind", "n_frames", "config_hash", "video_path")


@dataclass(frozen=True)
class ShardState:
    """What a committed shard says of itself in its footer."""

    parts: dict[str, str]
    clips_digest: str
    n_rows: int


def clips_digest(keys: Iterable[str]) -> str:
    """Names a set of rows, given a text for each (`row_key`)."""
    return hashlib.blake2b("\n".join(sorted(keys)).encode(), digest_size=12).hexdigest()


def shard_count(n_clips: int, shard_clips: int) -> int:
    """Number of shards for a new run; `shard_clips = 0` aims at 64 shards of 1 to 128 clips."""
    size = shard_clips or min(MAX_AUTO_SHARD_CLIPS, max(1, n_clips // AUTO_SHARDS))
    return max(1, -(-n_clips // size))


def row_key(clip_id: str, stamp: str | None) -> str:
    """Names a row that is up to date: the clip, and the file that was scored (None: there was none)."""
    return f"{clip_id} {stamp or '-'}"


def committed_key(row: Mapping[str, Any], config_hash: str) -> str:
    """`row_key` of a committed row, or a text that no listing gives where it was scored with something else than `config_hash`."""
    if row.get("config_hash") != config_hash:
        return f"{row['clip_id']} stale"
    return row_key(row["clip_id"], None if row.get("error_kind") == "missing_file" else row.get("file_stamp"))


class Ledger:
    """The committed shards below one output directory."""

    def __init__(self, out_dir: Place | str):
        self.out_dir = place(out_dir)

    @property
    def run_file(self) -> Place:
        return self.out_dir / "run.yaml"

    @property
    def manifest_file(self) -> Place:
        return self.out_dir / "manifest.parquet"

    def shard_file(self, shard: int) -> Place:
        return self.out_dir / "ledger" / f"{shard:05d}.parquet"

    def landmarks_file(self, shard: int) -> Place:
        return self.out_dir / "landmarks" / f"{shard:05d}.parquet"

    def inflight_file(self, shard: int) -> Place:
        return self.out_dir / "inflight" / f"{shard:05d}.json"

    def open(self) -> None:
        """Create the directory; a clear error where that cannot be."""
        try:
            if is_url(self.out_dir):  # there are no directories to create; only writing shows that one may write
                put(self.out_dir / ".probe", b"")
                (self.out_dir / ".probe").unlink()
                return
            self.out_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.out_dir):
                pass
        except OSError as error:
            raise UserError(f"cannot write to OUT {self.out_dir}: {error.strerror or one_line(error)}") from None
        except manifests.UserError as error:
            raise UserError(f"cannot write to OUT {self.out_dir}: {error}") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; a process that dies lets go of it."""
        with hold(self.out_dir):
            yield

    def read_run(self) -> dict[str, Any] | None:
        """The saved run, or None where there is none yet."""
        if not self.run_file.exists():
            return None
        run = yaml.safe_load(self.run_file.read_text())
        if not isinstance(run, dict) or not {"source", "n_shards", "config"} <= set(run):
            raise UserError(f"{self.run_file} is not a run's file; choose another OUT")
        return run

    def write_run(self, run: dict[str, Any]) -> None:
        put(self.run_file, yaml.safe_dump(run, sort_keys=False, allow_unicode=True).encode())

    def states(self) -> dict[int, ShardState]:
        """Every committed shard, by reading footers only."""
        files = self.shard_files()
        with ThreadPoolExecutor(8) as pool:
            return dict(zip((int(file.stem) for file in files), pool.map(_state, files), strict=True))

    def shard_files(self) -> list[Place]:
        """Files of the committed shards, sorted."""
        return sorted((self.out_dir / "ledger").glob("[0-9]*.parquet"), key=str)

    def parts(self, shard: int) -> dict[str, str]:
        """Digests of the parts that the committed rows of a shard depend on."""
        return _state(self.shard_file(shard)).parts

    def rows(self, shard: int) -> dict[str, dict[str, Any]]:
        """Committed rows of one shard by clip_id; empty where nothing is committed."""
        file = self.shard_file(shard)
        if not file.exists():
            return {}
        table = manifests.read_table(file)
        return {row["clip_id"]: row for row in table.to_pylist()}

    def brief_rows(self, shard: int) -> list[dict[str, Any]]:
        """What says whether committed rows are up to date: `BRIEF_COLUMNS` of each."""
        return manifests.read_table(self.shard_file(shard), BRIEF_COLUMNS).to_pylist()

    def faces(self, shard: int, clip_id: str) -> SpooledFaces:
        return SpooledFaces.of(Faces(*stretch) for stretch in manifests.landmark_stretches(self.landmarks_file(shard), clip_id))

    def commit(
        self,
        shard: int,
        scored: Iterable[ScoredClip],
        parts: dict[str, str],
        run_config: dict[str, Any],
        preset: str,
        columns: Sequence[Column] = (),
    ) -> None:
        """Commit a whole shard, judged by `preset`: landmarks first, then the rows, whose appearance is the commitment.

        Args:
            parts: digests of what the rows depend on.
            columns: those that scorers fill, for what the schema does not know.
        """
        scored = list(scored)
        table = {
            item.row["clip_id"]: (item.faces.times_ms, item.faces.n_faces, item.faces.points_px, item.faces.confidence)
            for item in scored
            if item.faces is not None
        }
        if not is_url(self.out_dir):
            self.landmarks_file(shard).parent.mkdir(parents=True, exist_ok=True)
            self.shard_file(shard).parent.mkdir(parents=True, exist_ok=True)
        manifests.write_landmarks(self.landmarks_file(shard), table)
        config_hash = digest(parts)
        keys = (committed_key(item.row, config_hash) for item in scored)
        state = {"parts": parts, "clips_digest": clips_digest(keys), "n_rows": len(scored)}
        judged = manifests.apply(to_frame(to_table([item.row for item in scored], columns)), preset, warn=False)
        manifests.write(judged, self.shard_file(shard), {**run_config, "shard": state}, columns)
        self.inflight_file(shard).unlink(missing_ok=True)


class Inflight:
    """Remembers, across the death of a worker, which clip it had in hand.

    Deaths count within one session of the driver (a killed driver says nothing about the clip), and with a higher bound across
    sessions, for clips that kill an in-process run again and again.
    """

    ACROSS_SESSIONS = 7

    def __init__(self, file: Place, session: str, limit: int):
        self._file, self._session, self._limit = file, session, limit
        saved = _read_json(file)
        self._deaths: dict[str, int] = saved.get("deaths", {})
        if clip_id := saved.get("clip_id"):
            weight = self.ACROSS_SESSIONS if saved.get("session") == session else 1
            self._deaths[clip_id] = self._deaths.get(clip_id, 0) + weight

    def begin(self, clip: Clip) -> bool:
        """Note that `clip` is in hand; False if it has killed too many workers to be tried again."""
        if self._deaths.get(clip.clip_id, 0) >= self._limit * self.ACROSS_SESSIONS:
            return False
        self._write(clip.clip_id)
        return True

    def _write(self, clip_id: str | None) -> None:
        text = json.dumps({"session": self._session, "clip_id": clip_id, "deaths": self._deaths})
        if is_url(self._file):
            put(self._file, text.encode())
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(text)
        temporary.replace(self._file)  # not flushed to disk: it must outlive a process, not the machine


def _read_json(file: Place) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def _state(file: Place) -> ShardState:
    shard = manifests.run_config(file).get("shard")
    if not shard:
        raise UserError(f"{file} is not a shard of this program; move it away")
    return ShardState(shard["parts"], shard["clips_digest"], shard["n_rows"])
