"""Where weights lie and how they get there: verified before use, downloaded to a temporary name that a later call continues.

`pooch` knows digests and a cache too, but begins a download anew that was cut off (weights are gigabytes), and has neither several sources
in order, nor several directories, nor pinned digests where nobody published one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from curation.live_line import rate_and_left
from curation.weights.table import USES, Model, load_table
from manifests.atomic import flush, put
from manifests.errors import UserError, did_you_mean

CHUNK_BYTES = 1 << 20  # a read of a download
TIMEOUT_S = 30.0  # of silence; then the next source is tried
ENVIRONMENT = "MEGACTOR_MODELS"


class ModelMissingError(UserError):
    """Weights that are not there; the message names the command that gets them."""


class ModelRefusedError(UserError):
    """A file that is not what the table says; the message names both digests."""


def user_directory() -> Path:
    """Where models go if nobody says otherwise."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("megactor-sigma")) / "models"


@dataclass(frozen=True)
class Store:
    """Finds models in `directories`, first wins; writes to the first.

    Attributes:
        directories: by default the directory given, then $MEGACTOR_MODELS, then the user's cache.
        table: the models known, by name.
    """

    directories: tuple[Path, ...]
    table: dict[str, Model] = field(default_factory=load_table)

    @classmethod
    def standard(cls, directory: str | Path | None = None) -> Store:
        named = [Path(text).expanduser() for text in (directory, os.environ.get(ENVIRONMENT)) if text]
        return cls((*named, user_directory()))

    def model(self, name: str) -> Model:
        if name not in self.table:
            raise UserError(f"unknown model {name!r}{did_you_mean(name, sorted(self.table))}")
        return self.table[name]

    def locate(self, name: str) -> Path | None:
        """Where the file lies, unverified; None where it lies nowhere."""
        model = self.model(name)
        return next((directory / model.file for directory in self.directories if (directory / model.file).is_file()), None)

    def find(self, name: str) -> Path:
        """The verified file of a model.

        Raises:
            ModelMissingError: with the command that gets it.
            ModelRefusedError: the file has another digest.
        """
        model, path = self.model(name), self.locate(name)
        if path is None:
            by_hand = f" By hand: {model.by_hand}, into {self.directories[0] / model.file}." if model.by_hand else ""
            raise ModelMissingError(
                f"model {name} ({model.used_for}) is not there; get it by `python -m curation models fetch {name}`"
                f" (add --from DIR where there is no network).{by_hand}"
            )
        self.verify(name, path)
        return path

    def verify(self, name: str, path: Path) -> str:
        """The SHA-256 of `path`, once it equals the table's or the pinned one. A digest is remembered until the file changes."""
        expected = self.model(name).sha256 or _read_json(self._pins_file(path, name)).get(name)
        found = _remembered_digest(path)
        if expected is None:
            raise ModelRefusedError(
                f"{path} was not put there by `models fetch` and nobody published a digest of {name}; fetch it with --from"
            )
        if found != expected:
            raise ModelRefusedError(f"{path} is not {name}: its SHA-256 is {found}, not {expected}; remove it and fetch it again")
        return found

    def fetch(self, name: str, *, origin: Path | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
        """Put a model into the first directory: from `origin` (a directory, for sites without network) or from its sources in order.

        A download that was cut off continues. The file appears under its name only when its digest is right.
        """
        model = self.model(name)
        with contextlib.suppress(ModelMissingError, ModelRefusedError):
            return self.find(name)
        target = self.directories[0] / model.file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {target.parent}: {error.strerror}") from None
        part = target.with_name(target.name + ".part")
        if origin is not None:
            _copy(self._found_below(origin, model), part)
            return self._admit(name, part, target)
        problems = []
        for url in model.sources:
            try:
                download(url, part, size_bytes=model.size_bytes, say=lambda line: say(f"{name}: {line}"))
                return self._admit(name, part, target)
            except (OSError, HTTPException, ModelRefusedError, ValueError) as error:
                problems.append(f"{url}: {error}")
        by_hand = f" By hand: {model.by_hand}." if model.by_hand else ""
        raise ModelMissingError(f"no source gave {name}: {'; '.join(problems)}.{by_hand} Then `models fetch {name} --from DIR`.")

    def fetch_all(
        self, names: Iterable[str], *, origin: Path | None = None, say: Callable[[str], None] = lambda line: None
    ) -> Iterator[tuple[str, Path | ModelMissingError]]:
        """Each of `names` and what comes along with it, once: its file, or why there is none (the rest is fetched all the same)."""
        seen: set[str] = set()
        wanted = list(names)
        while wanted:
            name = wanted.pop(0)
            if name in seen:
                continue
            seen.add(name)
            wanted = [*self.model(name).along, *wanted]
            try:
                yield name, self.fetch(name, origin=origin, say=say)
            except ModelMissingError as error:
                yield name, error

    def _found_below(self, origin: Path, model: Model) -> Path:
        """By its path, or by its name alone where no other model's file has that name."""
        name = Path(model.file).name
        alone = sum(Path(other.file).name == name for other in self.table.values()) == 1
        for candidate in (origin / model.file, origin / name)[: 1 + alone]:
            if candidate.is_file():
                return candidate
        raise ModelMissingError(f"{origin} holds {f'neither {model.file} nor {name}' if alone else f'no {model.file}'}")

    def _admit(self, name: str, part: Path, target: Path) -> Path:
        """Rename a finished download if it is what the table says; pin its digest where the table says nothing."""
        model = self.model(name)
        digest, size = _digest(part), part.stat().st_size
        pins_file = self._pins_file(target, name)
        pins = _read_json(pins_file)
        expected = model.sha256 or pins.get(name)
        if expected is not None and digest != expected:
            part.unlink()
            raise ModelRefusedError(f"what came as {name} has SHA-256 {digest} ({size} bytes), not {expected}; it was thrown away")
        if model.size_bytes is not None and size != model.size_bytes:
            part.unlink()
            raise ModelRefusedError(f"what came as {name} has {size} bytes, not {model.size_bytes}; it was thrown away")
        if expected is None:
            _write_json(pins_file, pins | {name: digest})
        part.replace(target)
        return target

    def _pins_file(self, path: Path, name: str) -> Path:
        base = path
        for _ in Path(self.model(name).file).parts:
            base = base.parent
        return base / "pins.json"


def download(url: str, part: Path, *, size_bytes: int | None = None, say: Callable[[str], None] = lambda line: None) -> None:
    """Download `url` to `part`, continuing where an earlier call stopped if the server can.

    Raises:
        OSError, HTTPException: the connection failed or ended early; what arrived stays for the next call.
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError("only http and https are fetched")
    have = part.stat().st_size if part.exists() else 0
    if size_bytes is not None and have >= size_bytes:
        if have == size_bytes:
            return
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing lies beyond what is here: the digest decides
            return
        raise
    with response:
        continues = response.status == 206
        left = int(response.headers.get("Content-Length") or 0)
        total = left + (have if continues else 0)
        done = have if continues else 0
        began = shown = time.monotonic()
        with part.open("ab" if continues else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown > 2:
                    shown = time.monotonic()
                    here = done - (have if continues else 0)
                    say(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB, {rate_and_left(here / 1e6, left / 1e6, shown - began, 'MB')}")
        flush(part)
    if total and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes; the next call continues")


def _copy(source: Path, part: Path) -> None:
    shutil.copyfile(source, part)
    flush(part)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remembered_digest(path: Path) -> str:
    """The file's digest; computed once for a (size, modification time), kept beside it."""
    state = path.stat()
    note = path.with_name(path.name + ".sha256.json")
    stamp = [state.st_size, state.st_mtime_ns]
    kept = _read_json(note)
    if kept.get("stamp") == stamp:
        return str(kept["sha256"])
    digest = _digest(path)
    with contextlib.suppress(OSError):  # a read-only directory of models is fine, only slower
        _write_json(note, {"stamp": stamp, "sha256": digest})
    return digest


def _read_json(file: Path) -> dict:
    try:
        tree = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _write_json(file: Path, tree: dict) -> None:
    put(file, json.dumps(tree, indent=1, sort_keys=True).encode())


def status_lines(store: Store, names: Iterable[str] | None = None) -> list[str]:
    """Two lines a model, under the uses that need it: where it is and whether it is right; what it is for, size and licence."""
    lines = []
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names or store.table:
        groups.setdefault(store.model(name).needed_by, []).append(name)
    for uses in sorted(groups, key=lambda uses: [USES.index(use) for use in uses]):
        lines.append(f"# {', '.join(uses)}")
        for name in groups[uses]:
            model = store.model(name)
            size = f"{model.size_bytes / 1e6:,.0f} MB; " if model.size_bytes else ""
            lines.append(f"{name:20} {_state(store, name)}\n{'':20} {model.used_for}; {size}{model.licence}")
    return lines


def _state(store: Store, name: str) -> str:
    path = store.locate(name)
    if path is None:
        return f"missing    `python -m curation models fetch {name}`"
    try:
        return f"verified   {path} ({store.verify(name, path)[:12]})"
    except ModelRefusedError as error:
        return f"REFUSED    {error}"
