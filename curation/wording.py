"""Numbers and names as people read them. Names come from file systems and indexes: they may hold anything."""

from __future__ import annotations

import math
from typing import Any


def number(value: float, digits: int = 4) -> str:
    """At most so many significant digits, thousands in groups: 12,345 / 3.142 / 0.0012; a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return "0" if text == "-0" else text.replace("-", "−")


def shown(value: Any, decimals: int | None = None) -> str | None:
    """A cell of a manifest as text, with so many decimals (None: four significant digits); None where it is null."""
    import pandas as pd

    if value is None or pd.isna(value):
        return None
    return number(float(value)) if decimals is None else f"{float(value):z,.{decimals}f}".replace("-", "−")


def percent(part: float, whole: float) -> str:
    """Share with one decimal below 10 %, none above; never "0 %" or "100 %" for what is not all or nothing."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %") if share < 10 or share > 99 else f"{share:.0f} %"


def duration(seconds: float) -> str:
    """42 s / 3 min 20 s / 2 h 5 min; below a minute to a tenth of a second. Negative counts as nothing."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{number(round(seconds, 1))} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def clean(value: Any, limit: int = 160) -> str:
    """Text in one line: control, direction and other unprintable characters as escapes, the middle of a long text left out."""
    import pandas as pd

    if value is None or pd.isna(value):
        return ""
    text = str(value)
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {text[-(limit // 2) :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
