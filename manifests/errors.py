"""The error for a user's mistake, and the suggestion of the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can put right. The message is one line and says what to do; command lines print it without a traceback."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'sync_c'?)"`, or an empty text if nothing known resembles `name`."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
