"""The figures as a page: what is asked, what was reached, the controls beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.anyone.reading import LOOKS
from manifests import preset

ROWS = {"model": "model", "still": "portrait held still", "moved": "portrait moved by the driver's similarity", "codec": "codec alone"}
FOLLOWED = ("mouth", "eyes", "roll_deg", "shift", "zoom")


def _of(figures: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [value for name, value in figures.items() if name.startswith(f"{kind}/")]


def _values(clips: list[dict[str, Any]], row: str, name: str) -> np.ndarray:
    found = np.array([clip[row][name] for clip in clips if name in clip[row]], float)
    return found[np.isfinite(found)]


def _median(values: np.ndarray) -> str:
    return f"{np.median(values):.2f}" if len(values) else "–"


def _quantile(values: np.ndarray, q: float) -> str:
    return f"{np.quantile(values, q):.2f}" if len(values) else "–"


def _table(clips: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | face found | mouth r | mouth r, p10 | eyes r | roll r | shift r | zoom r | PSNR of the face, dB | edges | likeness |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, label in ROWS.items():
        cells = [f"{_values(clips, row, 'found').mean():.3f}", _median(_values(clips, row, "mouth"))]
        cells.append(_quantile(_values(clips, row, "mouth"), 0.1))
        cells += [_median(_values(clips, row, name)) for name in FOLLOWED[1:]]
        cells += [
            f"{_values(clips, row, 'psnr').mean():.1f}",
            _median(_values(clips, row, "edges")),
            _median(_values(clips, row, "likeness")),
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def threshold_of_strangers(figures: dict[str, Any]) -> float:
    """The similarity that 99 % of pairs of different portraits stay below; clips and pictures of one person count as strangers too, which
    can only raise it."""
    vectors = np.array(_of(figures, "vector"))
    similar = vectors @ vectors.T
    return float(np.quantile(similar[np.triu_indices(len(vectors), 1)], 0.99))


def accepts(reading: dict[str, Any]) -> bool:
    """The embedded preset's two rules of lip sync."""
    rules = {rule.reason: rule.value for rule in preset("embedded").rules}
    if reading["offset"] is None or not np.isfinite(reading["confidence"]):
        return False
    return abs(reading["offset"]) <= rules["out_of_sync"] and reading["confidence"] >= rules["lip_sync_low"]


def bars(figures: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, asked, reached, whether it holds)."""
    found: list[tuple[str, str, str, bool]] = []

    def bar(what: str, asked: str, value: float, holds: bool, shown: str = "") -> None:
        found.append((what, asked, shown or f"{value:.3f}", bool(holds)))

    clips = _of(figures, "self")
    if clips:
        faces = _values(clips, "model", "found").mean()
        bar("face found, share of frames", "≥ 0.99", faces, faces >= 0.99)
        mouth, eyes = _values(clips, "model", "mouth"), _values(clips, "model", "eyes")
        bar(f"mouth opening, median r ({len(mouth)} clips whose mouth moves)", "≥ 0.8", np.median(mouth), np.median(mouth) >= 0.8)
        bar("mouth opening, r of nine clips in ten", "≥ 0.6", np.quantile(mouth, 0.1), np.quantile(mouth, 0.1) >= 0.6)
        bar(f"eye opening, median r ({len(eyes)} clips)", "≥ 0.7", np.median(eyes), np.median(eyes) >= 0.7)
        for name in ("roll_deg", "shift", "zoom"):
            values = _values(clips, "model", name)
            if len(values):
                what, middle = name.removesuffix("_deg"), float(np.median(values))
                bar(f"{what}, median r ({len(values)} clips that move so)", "≥ 0.9", middle, middle >= 0.9)
        ours = np.array([clip["model"]["psnr"] for clip in clips])
        best = np.array([max(clip["still"]["psnr"], clip["moved"]["psnr"]) for clip in clips])
        moving = np.array([clip["driver"]["mouth"] >= 0.03 or clip["driver"]["roll_deg"] >= 1 for clip in clips])
        gain = ours - best
        bar("PSNR of the face over the better control, mean dB", "> 0", gain.mean(), gain.mean() > 0)
        share = (gain[moving] > 0).mean() if moving.any() else float("nan")
        bar(f"clips that move ({moving.sum()}) with a PSNR above both controls", "≥ 0.8", share, share >= 0.8)
        edges = np.median(_values(clips, "model", "edges"))
        bar("edges at multiples of 8 px, median ratio", "≤ 1.05", edges, edges <= 1.05)
        limit, like = threshold_of_strangers(figures), np.array([clip["model"]["likeness"] for clip in clips])
        above = (like > limit).mean()
        bar(f"clips whose likeness is above {limit:.2f} (99 % of strangers stay below)", "≥ 0.95", above, above >= 0.95)
    both = _of(figures, "both")
    if both:
        heard = [clip for clip in both if "filmed" in clip and accepts(clip["filmed"])]  # a silent film was driven by its eyes alone
        if heard:
            own = np.mean([accepts(clip["own"]) for clip in heard])
            bar(f"sound and eyes: lip-sync scorer accepts, of {len(heard)} clips whose film it accepts", "≥ 0.7", own, own >= 0.7)
        mouth, eyes = _values(both, "model", "mouth"), _values(both, "model", "eyes")
        if len(mouth):
            bar(f"sound and eyes: mouth r, median ({len(mouth)} clips)", "no bar", np.median(mouth), True)
        if len(eyes):
            bar(f"sound and eyes: eye r, median ({len(eyes)} clips)", "≥ 0.7", np.median(eyes), np.median(eyes) >= 0.7)
    spoken = _of(figures, "speech")
    if spoken:
        own, swapped = (np.mean([accepts(pair[kind]) for pair in spoken]) for kind in ("own", "swapped"))
        bar(f"speech alone: lip-sync scorer accepts ({len(spoken)} pairs)", "≥ 0.7", own, own >= 0.7)
        bar("the same with another sound", "≤ 0.1", swapped, swapped <= 0.1)
    codec = _of(figures, "codec")
    if codec:
        clean = np.array([picture["clean_psnr"] for picture in codec])
        bar(f"codec: PSNR on {len(codec)} portraits, mean dB (least {clean.min():.1f})", "≥ 30", clean.mean(), clean.mean() >= 30)
        edges = np.median([picture["noisy_edges"] for picture in codec])
        bar("codec: edges after 10 % noise on the latents, median ratio", "≤ 1.05", edges, edges <= 1.05)
    return found


def _by_one_look(clips: list[dict[str, Any]]) -> list[str]:
    """What the reading's own noise takes away."""
    seen = [clip for clip in clips if "once" in clip]
    if not seen:
        return []
    read = ", ".join(f"{name.removesuffix('_deg')} {_median(_values(seen, 'once', name))}" for name in FOLLOWED)
    return [
        f"Every frame is read by itself, its points the mean of {LOOKS} looks at squares that differ by a few percent, because one look",
        f"jitters by 1 % of the face's size. By one look, as lip sync is judged, the model's medians read: {read}.",
    ]


def page(figures: dict[str, Any]) -> str:
    """Markdown."""
    about = figures["about"]
    lines = [
        "# Anyone's portrait: measured on real people that were never trained on",
        "",
        f"`make bench-anyone`; model of stage {about['stage']}, step {about['step']:,}, preset `{about['preset']}`, the first",
        f"{about['seconds']:g} s of every clip. The clips and portraits are of a corpus that is no part of this project.",
        "Openings are read by MediaPipe's face mesh and iris network, from the result and from the driver in the model's own crop; r is",
        "the correlation of the two over time, of clips in which the driver's moves.",
        *_by_one_look(_of(figures, "self")),
        "Likeness is MobileFaceNet's similarity to the portrait.",
        "",
        "| what | asked | reached | holds |",
        "|---|---|---|---|",
        *(f"| {what} | {asked} | {reached} | {'yes' if holds else '**no**'} |" for what, asked, reached, holds in bars(figures)),
    ]
    for kind, title in (("self", "Self-reenactment"), ("pair", "A portrait with somebody else's clip"), ("both", "Sound and eyes")):
        clips = _of(figures, kind)
        if clips:
            lines += ["", f"## {title} ({len(clips)})", "", *_table(clips)]
    return "\n".join(lines) + "\n"
