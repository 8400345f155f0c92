"""`make truth`: what drives what? Planted motion in, response matrix out.

Rendered people that nothing was trained on drive each other's portraits by eyes, by mouth, by both, by sound, and by sound with eyes; every
factor of a driver moves independently of the others and of the sound. Prints how each factor of the answers follows each planted signal,
what leaks, and what audio_scale and motion do; --docs writes docs/truth.md, docs/truth.json and a picture. Every clip's figures are kept in
OUT as they are made, so a killed run continues. --part table3 judges sound, video and both on such people by the evaluation's own code.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.people.recognition import fetch
from benchmarks.truth.drivers import held_out
from benchmarks.truth.measure import PARTS, measure
from benchmarks.truth.models import Cast
from benchmarks.truth.page import ABLATIONS, SUMMARY, TABLE3_FILE, committed, page, write_page
from benchmarks.truth.sections import table3_lines
from benchmarks.truth.summary import summary
from benchmarks.truth.table3 import SHORTEST_S, Asked, figures
from inference.evaluation.statistics import FEWEST_IDENTITIES
from manifests import UserError
from manifests.atomic import put

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLE3 = "table3"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="a pipeline's folder; what was trained here, or the packaged one")
    parser.add_argument("--out", type=Path, default=Path("outputs/truth"), help="figures are kept here")
    parser.add_argument("--people", type=int, default=20, help=f"intervals need {FEWEST_IDENTITIES}")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip")
    parser.add_argument("--part", choices=(*PARTS, TABLE3), action="append", help="this part alone; may be given again")
    parser.add_argument("--preset", default="fast", help="of sampling; answers are measured as it guides them, and unguided")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--network", type=Path, help="MobileFaceNet.tflite, for identity; fetched by npm if not given")
    parser.add_argument("--no-identity", action="store_true", help="leave identity out, and the distance that rests on it")
    parser.add_argument("--docs", action="store_true", help="write docs/truth.md, its JSON files and docs/images/truth.jpg")
    parser.add_argument("--page", action="store_true", help="measure nothing: write docs/truth.md anew from the JSON files beside it")
    options = parser.parse_args(arguments)
    try:
        if options.page:
            write_page(DOCS)
            return 0
        network = None if options.no_identity else options.network or fetch(options.out)
        chosen = tuple(options.part or (*PARTS, TABLE3))
        found, done = committed(DOCS, SUMMARY), None
        if parts := tuple(name for name in chosen if name != TABLE3):
            cast = Cast(held_out(options.people, options.seconds))
            done = measure(
                options.model, options.out, cast, options.seconds, parts=parts, preset=options.preset, network=network,
                device=options.device,
            )  # fmt: skip
            found = summary(done.kept.values)
        table3 = committed(DOCS, TABLE3_FILE)
        if TABLE3 in chosen:
            seconds = max(options.seconds, SHORTEST_S)
            asked = Asked(options.model, options.out / TABLE3, options.people, seconds, options.preset, network, options.device)
            table3 = figures(asked, say=lambda line: print(line, file=sys.stderr, flush=True))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ablations = committed(DOCS, ABLATIONS)
    print(page(found, ablations, table3) if found else "\n".join(table3_lines(table3)) if table3 else "")
    if options.docs:
        from benchmarks.truth.pictures import save_strip

        if done is not None:
            save_strip(done, DOCS / "images" / "truth.jpg")
        for name, one in ((SUMMARY, found), (TABLE3_FILE, table3)):
            if one:
                put(DOCS / name, (json.dumps(one, indent=1) + "\n").encode())
        write_page(DOCS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
