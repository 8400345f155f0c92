"""The parts of `docs/manifest.md` that follow from the code, so that the page cannot say otherwise."""

from __future__ import annotations

import re

from manifests.landmarks import LANDMARK_COLUMNS
from manifests.overview import type_name
from manifests.presets import load_presets
from manifests.schema import COLUMNS, ERROR_KINDS, Column


def columns_table(columns: tuple[Column, ...] = COLUMNS) -> str:
    """Markdown table of columns."""
    lines = ["| column | type | unit | meaning | since |", "|---|---|---|---|---|"]
    lines += [f"| `{column.name}` | {type_name(column)} | {column.unit} | {column.meaning} | {column.since} |" for column in columns]
    return "\n".join(lines)


def error_kinds_table() -> str:
    """Markdown table of the values of `error_kind`."""
    return "\n".join(["| error_kind | meaning |", "|---|---|", *(f"| `{kind}` | {meaning} |" for kind, meaning in ERROR_KINDS.items())])


def presets_list() -> str:
    """Markdown list of the presets with their rules, sources and notes."""
    blocks = []
    for preset in load_presets().values():
        rules = "\n".join(f"  - `{rule.text}`, else `{rule.reason}`" for rule in preset.rules)
        note = f" Note: {preset.note}" if preset.note else ""
        blocks.append(f"- **`{preset.name}`**: {preset.description} Source: {preset.source}.{note}\n{rules}")
    return "\n".join(blocks)


def refreshed(page: str) -> str:
    """The page with what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` generated anew.

    Raises:
        KeyError: a part of that name is not generated.
    """
    parts = {
        "columns": columns_table,
        "landmark columns": lambda: columns_table(LANDMARK_COLUMNS),
        "error kinds": error_kinds_table,
        "presets": presets_list,
    }
    marked = re.compile(r"<!-- begin (.+?) -->\n.*?<!-- end \1 -->", re.DOTALL)
    return marked.sub(lambda match: f"<!-- begin {match[1]} -->\n{parts[match[1]]()}\n<!-- end {match[1]} -->", page)
