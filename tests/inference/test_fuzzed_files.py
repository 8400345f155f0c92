"""Files of strangers, changed at random: each is read or refused in one line, within seconds and without gigabytes."""

import json
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

from safetensors.numpy import save_file

from inference.driving.driving import Driving
from inference.driving.template import FORMAT, TemplateFootage
from inference.evaluation.pairs import read_pairs
from inference.models.components import TrainingRecord, load_inference_config
from inference.pipeline.folder import CLASS_NAME, PIPELINE_FILE, read_pipeline_file
from inference.pipeline.folder import FORMAT as PIPELINE_FORMAT
from inference.studio.batch import read_tasks
from manifests import UserError, configuration
from manifests.landmarks import load_landmarks, write_landmarks

MOST_S, MOST_MB = 5.0, 1000
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))  # of each of the five kinds
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "../x", "/", "\0", "\ud800", "1e-999999999", "9" * 5000, "NaN", 1e308, 10**400, [], {}, [[]], {"a": {}}, "video"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def paths_of(tree, path=()):
    """Every place in a tree of plain values."""
    yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from paths_of(value, (*path, key))


def changed(tree, path, value, how):
    tree = json.loads(json.dumps(tree))
    if not path:
        return value
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    if how == "remove":
        del inner[path[-1]]
    elif how == "add" and isinstance(inner, dict):
        inner[str(value)[:20]] = value
    else:
        inner[path[-1]] = value
    return tree


def texts(tree, data) -> bytes:
    """The tree as JSON with one or two places changed, or its bytes cut and overwritten."""
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(list(paths_of(tree))))
        tree = changed(tree, place, data.draw(ODD), data.draw(st.sampled_from(["set", "set", "remove", "add"])))
    text = json.dumps(tree).encode("utf-8", "surrogatepass")
    kind = data.draw(st.sampled_from(["whole", "whole", "cut", "bytes", "deep"]))
    if kind == "cut":
        return text[: data.draw(st.integers(0, len(text)))]
    if kind == "bytes" and text:
        at = data.draw(st.integers(0, len(text) - 1))
        return text[:at] + data.draw(st.binary(max_size=4)) + text[at + 1 :]
    return b'{"a":' * 20_000 if kind == "deep" else text


def refused_or_read(read) -> None:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = ""
    try:
        read()
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert time.monotonic() - began < MOST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_MB


def fuzz_pipeline(folder: Path, data) -> None:
    config = load_inference_config("embedded")
    tree = {
        "_class_name": CLASS_NAME,
        "format": PIPELINE_FORMAT,
        "config": config.to_tree(),
        "training": configuration.to_tree(TrainingRecord(3, 1, {"all": 0.1})),
    }
    (folder / PIPELINE_FILE).write_bytes(texts(tree, data))
    refused_or_read(lambda: read_pipeline_file(folder))


def fuzz_pairs(folder: Path, data) -> None:
    pair = {"pair_id": "a", "protocol": "p", "identity": "i", "reference_identity": "i", "reference": "a.png"}
    pair |= {"driver": "b.mp4", "audio": "b.mp4", "real": "b.mp4", "signal": "video+audio", "parameters": {"motion": 0.5}}
    (folder / "pairs.jsonl").write_bytes(texts(pair, data) + b"\n" + texts(pair | {"pair_id": "b"}, data))
    refused_or_read(lambda: read_pairs(folder).version)


def fuzz_batch(folder: Path, data) -> None:
    line = {"id": "a", "reference": "a.png", "driving": "b.mp4", "audio": "c.wav", "audio_scale": 1.5, "motion": 0.5, "preset": "fast"}
    line |= {"seed": 3, "regions": "both", "guidance_interval": [0.1, 0.9], "save_template": "t.safetensors", "paste_back": True}
    (folder / "list.jsonl").write_bytes(texts(line, data))
    refused_or_read(lambda: read_tasks(folder / "list.jsonl", folder / "out", {}, "model"))


def fuzz_template(folder: Path, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = 3
    tensors = {
        "points_px": rng.uniform(10, 50, (n, 68, 2)).astype(np.float32),
        "n_faces": np.ones(n, np.int16),
        "boxes_px": np.tile(np.array([10, 10, 20, 20], np.int32), (n, 3, 1)),
        "packed": rng.integers(0, 256, 90).astype(np.uint8),
        "offsets": np.arange(3 * n + 1, dtype=np.int64) * 10,
        "audio": np.zeros(16_000 * n // 25, np.int16),
    }
    about = {"format": FORMAT, "fps": "25", "width_px": "64", "height_px": "64"}
    name = data.draw(st.sampled_from(list(tensors)))
    tensor = tensors[name]
    how = data.draw(st.sampled_from(["value", "shape", "type", "none", "about", "bytes"]))
    if how == "value":
        extremes = [0, 1, -1, np.nan, np.inf, 3e38, 2**15, 2**31 - 1, -(2**31)]
        values = tensor.astype(np.float64).ravel()
        values[rng.integers(len(values))] = data.draw(st.sampled_from(extremes))
        with np.errstate(invalid="ignore", over="ignore"):
            tensors[name] = values.reshape(tensor.shape).astype(tensor.dtype)
    elif how == "shape":
        tensors[name] = np.resize(tensor, data.draw(st.sampled_from([(), (0,), (n,), (n, 68), (n, 68, 2, 1), (1, 68, 2), (n, 0, 4)])))
    elif how == "type":
        tensors[name] = tensor.astype(data.draw(st.sampled_from(["float64", "float16", "int64", "uint8", "bool"])))
    elif how == "none":
        del tensors[name]
    elif how == "about":
        about[data.draw(st.sampled_from(list(about)))] = str(data.draw(ODD)).encode("utf-8", "replace").decode()
    file = folder / "t.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, file, about)
    if how == "bytes":
        whole = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + 1] = data.draw(st.binary(max_size=3))
        file.write_bytes(bytes(whole))

    def use() -> None:
        footage = TemplateFootage(file)
        for _ in footage.frames():
            pass
        with Driving(footage, size_px=64) as driving:
            driving.driven_frames(0, driving.n_frames)

    refused_or_read(use)


def fuzz_landmarks(folder: Path, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    file = folder / "landmarks" / "part-00000.parquet"
    file.parent.mkdir(exist_ok=True)
    points = rng.uniform(0, 99, (4, 68, 2)).astype(np.float32)
    write_landmarks(file, {"c": (np.arange(4) * 40.0, np.ones(4, np.int16), points, np.ones((4, 68), np.float32))})
    how = data.draw(st.sampled_from(["bytes", "cut", "column", "other"]))
    if how == "bytes":
        whole = bytearray(file.read_bytes())
        for _ in range(3):
            whole[rng.integers(len(whole))] = rng.integers(256)
        file.write_bytes(bytes(whole))
    elif how == "cut":
        file.write_bytes(file.read_bytes()[: rng.integers(file.stat().st_size)])
    else:
        columns = pyarrow.parquet.read_table(file)
        name = data.draw(st.sampled_from(columns.column_names))
        index = columns.column_names.index(name)
        odd = pa.array([data.draw(st.sampled_from([None, 1, 2.5])) for _ in range(len(columns))], pa.float64())
        columns = columns.remove_column(index) if how == "column" else columns.set_column(index, name, odd)
        pyarrow.parquet.write_table(columns, file)
    refused_or_read(lambda: load_landmarks(folder, "c"))


KINDS = [fuzz_pipeline, fuzz_pairs, fuzz_batch, fuzz_template, fuzz_landmarks]


@pytest.mark.parametrize("fuzz", KINDS)
def test_changed_files_are_read_or_refused(tmp_path, fuzz) -> None:
    given(st.data())(QUICK(lambda data: fuzz(tmp_path, data)))()


@pytest.mark.slow
@pytest.mark.parametrize("fuzz", KINDS)
def test_ten_thousand_changed_files_are_read_or_refused(tmp_path, fuzz) -> None:
    given(st.data())(LONG(lambda data: fuzz(tmp_path, data)))()
