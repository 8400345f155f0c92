"""The direction manifests <- curation <- inference <- training, the direction between the rooms of a package, and that importing a package
stays cheap."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("manifests", "curation", "inference", "training")
MAY_IMPORT = {
    "manifests": {"manifests"},
    "curation": {"manifests", "curation"},
    "inference": {"manifests", "curation", "inference"},
    "training": set(OURS),
}
# Of inference and training: which other rooms of the same package a room may import, also inside functions. Names of modules beside the
# rooms (`cli`, `run`, `config`) stand for themselves. `docs/architecture.md` draws it.
ROOMS = {
    "inference": {
        "models": set(),
        "driving": set(),
        "sampling": {"models"},
        "output": {"driving"},
        "pipeline": {"models", "driving", "sampling"},
        "live": {"driving", "sampling", "output", "pipeline"},
        "studio": {"models", "driving", "sampling", "output", "pipeline", "live"},
        "evaluation": {"models", "driving", "output", "studio"},
        "cli": {"driving", "output", "studio", "evaluation"},
        "__main__": {"cli"},
    },
    "training": {
        "data": set(),
        "config": {"data"},
        "loop": {"config", "data"},
        "watch": {"config", "data", "loop"},
        "offline": {"config", "data"},
        "run": {"config", "data", "loop", "watch", "offline"},
        "codec": {"config", "data", "loop"},
        "cost": {"config", "data", "loop", "run"},
        "adapt": {"config", "loop", "run"},
        "weights": {"codec", "config", "loop", "run"},
        "doctor": set(),
        "cli": {"adapt", "codec", "config", "cost", "doctor", "loop", "offline", "run", "watch", "weights"},
        "demo": {"loop"},
        "__main__": {"cli"},
    },
}
HEAVY = (
    "ray",
    "torch",
    "onnxruntime",
    "decord",
    "av",
    "cv2",
    "ai_edge_litert",
    "scenedetect",
    "transformers",
    "diffusers",
    "scipy",
    "matplotlib",
    "pandas",
    "pyarrow",
)


def imported_modules(source: str) -> set[str]:
    """Every module that the source imports anywhere, also inside functions; `from a.b import c` is `a.b` and `a.b.c`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def wrong_packages(package: str, source: str) -> set[str]:
    """Our packages that a module of `package` must not import but does."""
    return {name.split(".")[0] for name in imported_modules(source)} & set(OURS) - MAY_IMPORT[package]


def wrong_rooms(package: str, room: str, source: str) -> set[str]:
    """Rooms of its own package that a module of `room` must not import but does."""
    rooms = ROOMS[package]
    imported = {parts[1] for name in imported_modules(source) if (parts := name.split("."))[0] == package and len(parts) > 1}
    return imported & set(rooms) - rooms[room] - {room}


@pytest.mark.parametrize("package", OURS)
def test_packages_import_in_one_direction_only(package: str) -> None:
    wrong = {str(file.relative_to(ROOT)): wrong_packages(package, file.read_text()) for file in (ROOT / package).rglob("*.py")}
    assert not {file: names for file, names in wrong.items() if names}


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_in_one_direction_only(package: str) -> None:
    files = [file for file in (ROOT / package).rglob("*.py") if file.parent != ROOT / package or file.stem != "__init__"]
    rooms = {file: file.relative_to(ROOT / package).parts[0].removesuffix(".py") for file in files}
    assert set(rooms.values()) == set(ROOMS[package])
    wrong = {str(file.relative_to(ROOT)): wrong_rooms(package, room, file.read_text()) for file, room in rooms.items()}
    assert not {file: names for file, names in wrong.items() if names}


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_the_allowed_imports_have_no_circle(package: str) -> None:
    assert list(graphlib.TopologicalSorter(ROOMS[package]).static_order())


@pytest.mark.parametrize(
    ("package", "room", "planted"),
    [
        ("inference", "models", "from inference.driving.regions import cut_patches"),
        ("inference", "driving", "def late():\n    import inference.pipeline.pipeline"),
        ("inference", "sampling", "from inference import studio"),
        ("training", "data", "from training.loop.trainer import Trainer"),
        ("training", "data", "from training.watch import observers"),
        ("training", "loop", "import training.run"),
    ],
)
def test_a_planted_import_against_the_direction_is_found(package: str, room: str, planted: str) -> None:
    assert wrong_rooms(package, room, planted)
    assert wrong_packages("curation", planted)


def test_nobody_imports_tests_or_benchmarks() -> None:
    files = [file for package in OURS for file in (ROOT / package).rglob("*.py")]
    assert files
    assert not [file for file in files if {name.split(".")[0] for name in imported_modules(file.read_text())} & {"tests", "benchmarks"}]


@pytest.mark.parametrize(
    "module",
    [
        "manifests", "manifests.__main__", "curation", "curation.cli", "inference", "inference.cli",
        "inference.evaluation.cli", "training", "training.cli", "training.demo.run",
    ],
)  # fmt: skip
def test_importing_is_cheap(module: str) -> None:
    """So `python -m PACKAGE --help` answers at once."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
