"""`python -m benchmarks.long_clip FILE`: memory of a whole curation run by the length of its one clip, in the process that scores and
in its decoder. Linux.

The first 3.2 s of a clip at 192 px, repeated without encoding again. `anon` is the largest own memory that was seen (looked at
every 20 ms), `RSS` the kernel's peak of all resident memory, files' pages included. Options behind `--` go to `curation run`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE_PX = 192
N_FRAMES, RATE_HZ, AAC_SAMPLES = 80, 16_000, 1024  # 3.2 s: whole frames of picture and of sound
GOAL_MB_PER_MINUTE = 0.3


@dataclass
class Peak:
    """Memory of one process, MB, as far as it was seen."""

    seen: dict[str, float] = field(default_factory=lambda: {"RssAnon": 0.0, "VmHWM": 0.0})

    def look(self, pid: int) -> None:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return  # it ended
        found = {name: int(rest.split()[0]) * 1024 / 1e6 for name, _, rest in (line.partition(":") for line in lines) if name in self.seen}
        self.seen = {name: max(value, found.get(name, 0.0)) for name, value in self.seen.items()}


def short_clip(clip: Path, file: Path) -> None:
    """The first 3.2 s of `clip`, small."""
    with av.open(str(clip)) as source, av.open(str(file), "w") as out:
        video, audio = out.add_stream("libx264", rate=25), out.add_stream("aac", rate=RATE_HZ)
        video.width = video.height = SIDE_PX
        video.options = {"bf": "0"}
        audio.layout = "mono"
        for n, frame in enumerate(islice(source.decode(video=0), N_FRAMES)):
            small = frame.reformat(SIDE_PX, SIDE_PX)
            small.pts, small.time_base = n, Fraction(1, 25)
            out.mux(video.encode(small))
        source.seek(0)
        resampler = av.AudioResampler("fltp", "mono", RATE_HZ)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                out.mux(audio.encode(part))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def repeated(short: Path, minutes: float, file: Path) -> None:
    """The clip again and again, interleaved, until it lasts so long."""
    with av.open(str(short)) as source, av.open(str(file), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        packets: dict[int, list[tuple[bytes, bool]]] = {stream.index: [] for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                packets[packet.stream.index].append((bytes(packet), packet.is_keyframe))
        lengths = {0: Fraction(1, 25), 1: Fraction(AAC_SAMPLES, RATE_HZ)}
        counts = {0: N_FRAMES, 1: N_FRAMES * RATE_HZ // 25 // AAC_SAMPLES}
        for turn in range(round(minutes * 60 * 25 / N_FRAMES)):
            timed = [(lengths[i] * (turn * counts[i] + n), i, *packets[i][n]) for i in counts for n in range(counts[i])]
            for time_s, index, data, is_key in sorted(timed, key=lambda item: item[:2]):
                packet = av.Packet(data)
                packet.stream = streams[index]
                packet.time_base = Fraction(1, 90_000)
                packet.pts = packet.dts = round(time_s * 90_000)
                packet.duration = round(lengths[index] * 90_000)
                packet.is_keyframe = is_key
                out.mux(packet)


def measured(root: Path, out: Path, options: list[str]) -> dict[str, Any]:
    """Peaks of a run over the folder."""
    command = [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(root), "--out", str(out)]
    command += ["--set", "workers=1", "--set", "job.executor=inprocess", *options]
    scorer, decoder, began = Peak(), Peak(), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None:
            scorer.look(process.pid)
            try:
                for pid in children.read_text().split():
                    if b"curation.media.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        decoder.look(int(pid))
            except OSError:
                pass  # one of them ended between two looks
            time.sleep(0.02)
        if process.returncode:
            raise SystemExit(process.stderr.read() if process.stderr else "the run failed")
    figures = {f"{who} {what}": peak.seen[key] for who, peak in (("scorer", scorer), ("decoder", decoder)) for what, key in _COLUMNS}
    return figures | {"s": time.monotonic() - began}


_COLUMNS = (("anon", "RssAnon"), ("RSS", "VmHWM"))


def main(arguments: list[str]) -> int:
    """Prints a line a length and the growth from the first to the last; 1 if that is more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_clip", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video of 3.2 s or more with a face and sound")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 30])
    parser.add_argument("options", nargs="*", help="behind --: for `curation run`, such as --set sample_hz=5")
    given = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short.mp4"
        short_clip(given.clip, short)
        for number, minutes in enumerate(given.minutes):
            root = Path(folder) / str(number)
            root.mkdir()
            repeated(short, minutes, root / "clip.mp4")
            rows.append(measured(root, Path(folder) / f"out{number}", given.options))
            if not number:
                print(f"{'minutes':>8} " + " ".join(f"{name:>13}" for name in rows[0]) + "   (MB)", flush=True)
            print(f"{minutes:8g} " + " ".join(f"{value:13.1f}" for value in rows[-1].values()), flush=True)
    names = [name for name in rows[0] if name != "s"]
    growth = np.array([rows[-1][name] - rows[0][name] for name in names]) / max(given.minutes[-1] - given.minutes[0], 1e-9)
    print("a minute " + " ".join(f"{value:13.2f}" for value in growth) + f"   goal <= {GOAL_MB_PER_MINUTE}")
    return int(max(growth) > GOAL_MB_PER_MINUTE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
