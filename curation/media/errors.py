"""The child's own failure type: `curation.contracts` would pull pandas into a process that must start quickly."""


class DecodeError(Exception):
    """Why a file gives no frames; the parent raises it again as `ClipError`.

    Args:
        kind: one of `manifests.ERROR_KINDS`.
        message: one line, without the file's name (which may not even be text).
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
        self.message = message
