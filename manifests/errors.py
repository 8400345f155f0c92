"""The errors for a user's mistakes, and the suggestion of the name that was probably meant."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Iterable

MAX_LISTED = 20  # names that still make one line a person reads; the 60 columns of a manifest do not


class UserError(ValueError):
    """Something the user can put right. The message is one line and says what to do; command lines print it without a traceback."""


class NoLandmarksError(UserError):
    """The landmarks of one clip are missing, damaged or show no face; other clips of the same run may be fine."""


# Packages that fsspec reaches other machines by.
_STORES = frozenset({
    "adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "ftplib", "gcsfs", "google", "httpcore", "httpcore2", "httpx",
    "httpx2", "huggingface_hub", "ocifs", "ossfs", "oss2", "paramiko", "requests", "s3fs", "smbprotocol", "urllib3",
    "webdav4",
})  # fmt: skip
_NO_NETWORK = (ConnectionRefusedError, socket.gaierror)  # not a broken pipe: that is between our own processes


def store_trouble(error: BaseException) -> str:
    """One line on an error of an object store or a connection (no credentials, no such bucket, no network); else empty."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _NO_NETWORK) and type(cause).__module__.partition(".")[0] not in _STORES:
        cause = cause.__cause__
    if cause is None:
        return ""
    told = " ".join(str(cause).split())[:200]
    if isinstance(cause, _NO_NETWORK) or "name resolution" in told or "not known" in told:
        return f"no connection to another machine: {told or type(cause).__name__}"
    return f"cannot use the object store: {told} (credentials come from the environment, e.g. AWS_PROFILE; docs/scaling.md)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What an error about an unknown name ends with: `"; did you mean 'sync_c'?"`, or what is known if that is not too much."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if len(known) <= MAX_LISTED else ""
