"""Landmark lip sync on real people: curates the corpus, trains with identity-wise cross-validation, prints what docs/lipsync.md shows.

    python -m benchmarks.lipsync_corpus [CORPUS] [OUT] [--also RUN] [--folds 5] [--seed 0] [--steps N]

CORPUS (default ../shared/corpus) holds clips.csv and crops.csv; nothing of it is copied. Everything that takes long is kept in OUT
(default outputs/lipsync-corpus), so that an interrupted run goes on. About half an hour on two cores, most of it landmarks.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

# People who carry several labels in the corpus, found by looking at a frame of every file; to be on the safe side also likely look-alikes.
SAME_PERSON = {"spkvid_side_2": "spkvid_A", "spkvid_dlg1_1": "spkvid_A", "spkvid_dlg1_2": "spkvid_A"}

# Clips that are judged: single real people who speak, 4 s and longer, that have sound. Left out are, by what clips.csv says of them, what
# is dubbed or sung to playback (speaking = partial), where the speaker is not on screen (speaking = no), and what is silent or broken.
JUDGED = "source_key.str.startswith('clips/') and duration_ms >= 4000"


def write_index(corpus: Path, folder: Path) -> Path:
    """A folder index of the speaking clips and all crops; links instead of copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("clips", "crops"):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to((corpus / name).resolve(), target_is_directory=True)
    rows = []
    with (corpus / "clips.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            audible = row["has_audio"] == "True" and float(row["audio_rms_db"]) > -100
            if row["kind"] == "real" and row["speaking"] == "yes" and audible:
                rows.append((row["file"], row["identity_guess"]))
    with (corpus / "crops.csv").open(newline="", encoding="utf-8") as lines:
        rows += [(row["file"], row["identity_guess"]) for row in csv.DictReader(lines)]
    index = folder / "index.csv"
    with index.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "identity"])
        writer.writerows((file, SAME_PERSON.get(person, person)) for file, person in rows)
    return index


def curate(index: Path, out: Path) -> None:
    """Landmarks of every clip, by the project's own job."""
    from curation.cli import cli

    cli(["run", "--source", "folder", "--root", str(index), "--out", str(out)], standalone_mode=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("out", nargs="?", type=Path, default=Path("outputs/lipsync-corpus"))
    parser.add_argument("--also", nargs="*", default=[], help="further curated runs to train on: outputs/people-curation")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    if not (args.corpus / "crops.csv").exists():
        parser.exit(2, f"error: {args.corpus} holds no crops.csv: give the corpus's directory\n")
    from curation.lipsync.train import train_lipsync

    curate(write_index(args.corpus, args.out / "index"), args.out / "run")
    run, trained = args.out / "run", args.out / "trained"
    settings = {"also": args.also, "folds": args.folds, "seed": args.seed, "steps": args.steps}
    print(train_lipsync(run, trained, evaluate_where=JUDGED, progress=print, **settings))


if __name__ == "__main__":
    main()
