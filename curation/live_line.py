"""One line of progress: rewritten in place on a terminal, a line now and then in a log.

tqdm and rich know one rate over all that was counted; the lines here tell of rates over what is new, of real time and of stages, and a log
gets whole lines rather than carriage returns. What is left to write is this module.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from curation.wording import duration, number

TERMINAL_EVERY_S = 0.2  # quicker than an eye needs, slow enough to cost nothing
LOG_EVERY_S = 10.0
_ERASE = "\r\033[K"


def rate_and_left(done: float, total: float, elapsed_s: float, unit: str) -> str:
    """`0.52 rows/s, 3 min 20 s left`, as if it went on at the mean rate so far; without the time at the end or before anything is done."""
    rate = done / max(elapsed_s, 1e-9)
    left = f", {duration(round((total - done) / rate))} left" if 0 < done < total else ""
    return f"{number(rate, 3)} {unit}/s{left}"


class LiveLine:
    """Shows the newest text, no oftener than its place bears."""

    def __init__(self, out: TextIO | None = None):
        self._out = out or sys.stderr
        self.is_live = self._out.isatty()
        self._shown_s = time.monotonic()
        self._is_open = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for a new text; lets callers put the text together only then."""
        return time.monotonic() - self._shown_s >= (TERMINAL_EVERY_S if self.is_live else LOG_EVERY_S)

    def show(self, text: str) -> None:
        """On a terminal in place of the last one, cut to the width; in a log as a line."""
        self._shown_s = time.monotonic()
        if self.is_live:
            self._out.write(f"{_ERASE}{text[: shutil.get_terminal_size().columns - 1]}")
            self._is_open = True
        else:
            self._out.write(f"{text}\n")
        self._out.flush()

    def clear(self) -> None:
        """Makes room on a terminal for another line."""
        if self._is_open:
            self._out.write(_ERASE)
            self._out.flush()
            self._is_open = False

    def close(self, text: str) -> None:
        """The last text, which stays."""
        self.clear()
        self._out.write(f"{text}\n")
        self._out.flush()
