"""Which source a root is meant for where nobody says."""

from __future__ import annotations

from curation.people.settings import SETTINGS_FILE
from curation.samples import STAMP_FILE
from manifests.places import place


def source_in(root: str) -> str:
    """`samples` or `people` where the project rendered them, else `folder`."""
    at = place(root)
    if at.is_dir():
        for source, file in (("samples", STAMP_FILE), ("people", SETTINGS_FILE)):
            if (at / file).is_file():
                return source
    return "folder"
