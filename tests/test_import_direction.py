"""The direction manifests <- curation <- inference <- training, and that importing a package stays cheap."""

import ast
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
)


def imported_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", OURS)
def test_packages_import_in_one_direction_only(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imported_names(file) & set(OURS) - MAY_IMPORT[package]
    }
    assert not wrong


def test_nobody_imports_tests_or_benchmarks() -> None:
    files = [file for package in OURS for file in (ROOT / package).rglob("*.py")]
    assert files
    assert not [file for file in files if imported_names(file) & {"tests", "benchmarks"}]


@pytest.mark.parametrize("module", ["manifests", "curation", "curation.cli", "curation.contracts", "inference"])
def test_importing_is_cheap(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
