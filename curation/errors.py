"""The error of one clip, apart from the contracts so that a command line that catches it starts without numpy and pyarrow."""

from __future__ import annotations


class ClipError(Exception):
    """A clip that cannot be scored; becomes a row with `status = failed`.

    Args:
        kind: one of `manifests.ERROR_KINDS`.
        message: one line for a person: what is wrong with the file.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
        self.message = " ".join(message.split())

    def __reduce__(self) -> tuple[type[ClipError], tuple[str, str]]:
        return (ClipError, (self.kind, self.message))
