"""The errors for a user's mistakes, and the suggestion of the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 20  # names that still make one line a person reads; the 60 columns of a manifest do not


class UserError(ValueError):
    """Something the user can put right. The message is one line and says what to do; command lines print it without a traceback."""


class NoLandmarksError(UserError):
    """The landmarks of one clip are missing, damaged or show no face; other clips of the same run may be fine."""


_STORES = frozenset({"botocore", "aiobotocore", "s3fs", "gcsfs", "google", "adlfs", "azure", "aiohttp", "huggingface_hub"})


def store_trouble(error: BaseException) -> str:
    """One line on an error that the packages of object stores raised (no credentials, no such bucket, no network); else empty."""
    causes = [cause for cause in (error, error.__cause__) if type(cause).__module__.partition(".")[0] in _STORES]
    if not causes:
        return ""
    told = " ".join(str(causes[0]).split())[:200]
    return f"cannot use the object store: {told} (credentials come from the environment, e.g. AWS_PROFILE; docs/scaling.md)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What an error about an unknown name ends with: `"; did you mean 'sync_c'?"`, or what is known if that is not too much."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if len(known) <= MAX_LISTED else ""
