"""`make truth`: what drives what? Planted motion in, response matrix out.

Rendered people that nothing was trained on drive each other's portraits by eyes, by mouth, by both, by sound, and by sound with eyes; every
factor of a driver moves independently of the others and of the sound. Prints how each factor of the answers follows each planted signal,
what leaks, and what audio_scale and motion do; --docs writes docs/truth.md, docs/truth.json and a picture. Every clip's figures are kept in
OUT as they are made, so a killed run continues.
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
from benchmarks.truth.page import page
from benchmarks.truth.summary import summary
from inference.evaluation.statistics import FEWEST_IDENTITIES
from manifests import UserError
from manifests.atomic import put

DOCS = Path(__file__).resolve().parents[2] / "docs"
ABLATIONS_FILE = "truth_ablations.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="a pipeline's folder; what was trained here, or the packaged one")
    parser.add_argument("--out", type=Path, default=Path("outputs/truth"), help="figures are kept here")
    parser.add_argument("--people", type=int, default=20, help=f"intervals need {FEWEST_IDENTITIES}")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip")
    parser.add_argument("--part", choices=PARTS, action="append", help="this part alone; may be given again")
    parser.add_argument("--preset", default="fast", help="of sampling; guidance is 1 and 2 whatever it says")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--network", type=Path, help="MobileFaceNet.tflite, for identity; fetched by npm if not given")
    parser.add_argument("--no-identity", action="store_true", help="leave identity out")
    parser.add_argument("--docs", action="store_true", help="write docs/truth.md, docs/truth.json and docs/images/truth.jpg")
    options = parser.parse_args()
    try:
        network = None if options.no_identity else options.network or fetch(options.out)
        parts = tuple(options.part or PARTS)
        done = measure(
            options.model, options.out, Cast(held_out(options.people, options.seconds)), options.seconds, parts=parts, preset=options.preset, network=network,
            device=options.device,
        )  # fmt: skip
        found = summary(done.kept.values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ablations = DOCS / ABLATIONS_FILE
    text = page(found, json.loads(ablations.read_text()) if ablations.is_file() else None)
    print(text)
    if options.docs:
        from benchmarks.truth.pictures import save_strip

        save_strip(done, DOCS / "images" / "truth.jpg")
        put(DOCS / "truth.json", (json.dumps(found, indent=1) + "\n").encode())
        put(DOCS / "truth.md", text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
