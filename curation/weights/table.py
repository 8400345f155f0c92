"""The table of models: name, file, size, digest, sources in order, licence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from manifests import configuration
from manifests.config_files import config_file
from manifests.errors import UserError

USES = ("curation", "training", "animation", "evaluation", "variants")
# What a profile cannot do without; evaluation and driving variants are asked for by name.
PROFILES: dict[str, tuple[str, ...]] = {"embedded": (), "paper": ("curation", "training", "animation")}
TABLE_FILE = config_file("models.yaml")


@dataclass(frozen=True)
class Model:
    """One file of weights.

    Attributes:
        file: relative path below the models directory.
        sources: URLs, tried in order.
        sha256: 64 lower-case hexadecimal digits; None where nobody published it (pinned at the first download).
        size_bytes: of the published file; None where unknown.
        licence: under which the weights may be used.
        used_for: what it does there.
        needed_by: which of `USES` need it.
        along: names of other models that are of no use without this one and come with it, such as its configuration.
        by_hand: how a person gets it where no source can be reached.
    """

    file: str
    sources: tuple[str, ...]
    licence: str
    used_for: str
    needed_by: tuple[str, ...] = ()
    along: tuple[str, ...] = ()
    sha256: str | None = None
    size_bytes: int | None = None
    by_hand: str = ""

    def __post_init__(self) -> None:
        path = PurePosixPath(self.file)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"file {self.file!r} must be a path below the models directory")
        if self.sha256 is not None and (len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef")):
            raise ValueError(f"sha256 of {self.file} must be 64 lower-case hexadecimal digits")
        if not self.sources and not self.by_hand:
            raise ValueError(f"{self.file} needs at least one source, or by_hand: how a person gets it")
        if set(self.needed_by) - set(USES):
            raise ValueError(f"needed_by of {self.file} is {list(self.needed_by)}; it must name some of {', '.join(USES)}")


def load_table(file: Path = TABLE_FILE) -> dict[str, Model]:
    """All models by name.

    Raises:
        UserError: a file that does not say what a model needs.
    """
    table = {}
    for name, body in configuration.read_yaml(file).items():
        try:
            table[str(name)] = configuration.build(Model, body, str(name))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    for name, model in table.items():
        if unknown := set(model.along) - set(table):
            raise UserError(f"{file}: {name} brings {', '.join(sorted(unknown))} along, which the table does not have")
    return table


def needed_by(table: dict[str, Model], uses: Iterable[str]) -> list[str]:
    """Names of the models that any of `uses` needs, in the table's order."""
    wanted = set(uses)
    return [name for name, model in table.items() if wanted & set(model.needed_by)]
