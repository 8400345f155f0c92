"""The project's HTML pages: one set of rules for all of them, and one style sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def page_template(folder: Path, name: str) -> Any:
    """The Jinja template `name` in `folder`; it may include `style.css.jinja`.

    Text is escaped. Filters: `drawing` for SVG made by the project, whose texts are escaped where it is drawn; `breakable` lets a name be
    broken at its underscores.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup
    environment.filters["breakable"] = lambda text: Markup("_<wbr>").join(text.split("_"))
    return environment.get_template(name)
