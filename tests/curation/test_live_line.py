"""One line that is rewritten on a terminal; whole lines, and few, in a log."""

import io

import pytest

from curation import live_line
from curation.job.progress import Progress
from curation.job.tally import Tally
from curation.live_line import LiveLine, rate_and_left


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_line.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_the_newest_text_in_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    line = LiveLine(out := Terminal())
    line.show("first")
    line.show("second, which is wider than the terminal")
    line.close("done")
    shown = [part.removeprefix("\033[K") for part in out.getvalue().split("\r")[1:]]
    assert shown == ["first", "second, which is wi", "done\n"]


def test_a_log_gets_lines_without_carriage_returns(clock):
    line = LiveLine(out := io.StringIO())
    for _ in range(100):  # a second each
        clock[0] += 1
        if line.is_due:
            line.show(f"at {clock[0]:.0f} s")
    line.clear()
    line.close("done")
    assert out.getvalue().splitlines() == [*(f"at {at} s" for at in range(110, 201, 10)), "done"]


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "said"),
    [(0, 10, 5, "0 rows/s"), (5, 10, 10, "0.5 rows/s, 10 s left"), (10, 10, 4, "2.5 rows/s"), (1, 3601, 1, "1 rows/s, 60 min 0 s left")],
)
def test_rate_and_time_left(done, total, elapsed_s, said):
    text = rate_and_left(done, total, elapsed_s, "rows")
    assert text == said.replace("60 min 0 s", "1 h 0 min")


def test_reused_clips_count_as_done_but_not_for_the_rate(clock):
    progress = Progress(100, LiveLine(out := io.StringIO()))
    progress.add(Tally(reused=50))
    clock[0] += 20
    progress.add(Tally(clips=10, failed=1, media_ms=40_000, decode_ms=30, landmarks_ms=10))
    assert out.getvalue() == (
        "60/100 clips | 50 as they were | 0.50 clips/s | 2.0x real time | 1 failed | ETA 1 min 20 s | mostly decode (75%)\n"
    )
