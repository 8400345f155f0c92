"""Our own answers to a benchmark: a trained model, driven by sound, video or both, as a folder that `run` scores."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.evaluation.methods import MODALITIES, Method, write_method
from inference.evaluation.pairs import Pair, PairList
from inference.studio.batch import RESULTS, BatchCount, run_batch
from inference.studio.loading import LoadOptions, find_model
from manifests import UserError
from manifests.atomic import atomic_path, refuse_source

REQUESTS_FILE = "requests.jsonl"
WINDOW_FRAMES = 16


def answer(
    pairs: PairList,
    modality: str | None,
    out: str | Path,
    options: LoadOptions,
    defaults: dict[str, Any],
    *,
    name: str | None = None,
    workers: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> BatchCount:
    """Writes `<pair_id>.mp4` for every pair that the modality can answer, and `method.yaml`. Killed, the same call continues.

    Args:
        modality: A, V or A+V: what of the driver the model is given; None: what each pair's signal says.
        options: which model, where.
        defaults: settings of a request (`inference.studio.request.Request`): preset, seed, ...; a pair's own parameters win.
        name: of the method in tables; None is the model's folder with the modality.
        workers: 0 = this process, more = Ray actors.

    Raises:
        UserError: an unknown modality, no pair that has what it needs, or an answer would replace one of the benchmark's files.
    """
    if modality is not None and modality not in MODALITIES:
        raise UserError(f"modality is {modality!r}; it must be one of {', '.join(MODALITIES)}")
    out = Path(out)
    requests, left_out = [], []
    for pair in pairs:
        files = (pairs.root / file for file in (pair.reference, pair.driver, pair.audio, pair.real) if file)
        refuse_source(out / f"{pair.pair_id}.mp4", files)
        given = given_to(pair, pairs.root, modality)
        if given is None:
            left_out.append(pair.pair_id)
        else:
            requests.append({"id": pair.pair_id, **given, **pair.parameters})
    if left_out:
        say(f"{len(left_out)} pairs do not give what modality {modality} needs and stay without answer, e.g. {left_out[0]}")
    if not requests:
        raise UserError(f"no pair gives what modality {modality} needs; e.g. {left_out[0]}")
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / REQUESTS_FILE) as temporary:
        temporary.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    count = run_batch(out / REQUESTS_FILE, out, options, defaults, workers, say)
    write_method(_method(find_model(options.model), out, modality, name), out)
    return count


def given_to(pair: Pair, root: Path, modality: str | None = None) -> dict[str, str] | None:
    """What a method of that modality is given for a pair, as absolute paths: reference, and driving or audio or both; None if the pair does
    not have it."""
    signal = MODALITIES[modality] if modality else pair.signal
    if ("video" in signal and "video" not in pair.signal) or ("audio" in signal and "audio" not in pair.signal):
        return None
    given = {"reference": str((root / pair.reference).absolute())}
    if "video" in signal:
        given["driving"] = str((root / pair.driver).absolute())
    if "audio" in signal:
        given["audio"] = str((root / pair.audio).absolute())
    return given


def _method(model: str, out: Path, modality: str | None, name: str | None) -> Method:
    rows = [json.loads(line) for line in (out / RESULTS).read_text(encoding="utf-8").split("\n") if line]
    made = [row for row in rows if not row["error"]]
    folder = Path(model)
    label = name or " ".join(filter(None, ["ours" if folder.name == "pipeline" else folder.name, modality]))
    notes: dict[str, Any] = {"model": model}
    if made:
        settings = made[0]["settings"]
        notes |= {"settings": settings, "trained": made[0]["model"], "seed": made[0]["seed"]}
        notes["seconds_per_frame"] = round(sum(row["seconds_per_frame"] or 0.0 for row in made) / len(made), 4)
        if not settings.get("window_shift"):  # windows that move from step to step have no border to look at
            notes["window_stride"] = WINDOW_FRAMES - int(settings.get("window_overlap") or 0)
    return Method(label, parameters_b(folder), MODALITIES.get(modality or "", ""), notes)


def parameters_b(folder: Path) -> float:
    """10⁹ parameters of the safetensors files in a pipeline's folder, from their headers; NaN without any."""
    count = 0
    for file in sorted(folder.rglob("*.safetensors")):
        with open(file, "rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        count += sum(math.prod(one["shape"]) for key, one in header.items() if key != "__metadata__")
    return count / 1e9 if count else math.nan
