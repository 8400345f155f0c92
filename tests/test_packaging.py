"""What `pip install` gives: every file that the code reads, every package that it imports, and commands that run without a checkout."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from curation.command_line import EXTRA_OF
from manifests.config_files import config_file

ROOT = Path(__file__).resolve().parent.parent
OURS = ("manifests", "curation", "inference", "training")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where the name of a module is not that of the distribution that carries it.
DISTRIBUTION_OF = {
    "PIL": "pillow", "cdfvd": "cd-fvd", "cv2": "opencv-python-headless", "yaml": "pyyaml", "upath": "universal-pathlib",
    "skimage": "scikit-image", "scenedetect": "scenedetect-headless",
}  # fmt: skip


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-") for requirement in requirements}


def imported(folder: Path) -> dict[str, str]:
    """Top-level modules that are not of the standard library and not ours, each with a file that imports it."""
    found = {}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for module in modules:
                top = module.partition(".")[0]
                if top not in (*sys.stdlib_module_names, *OURS, "_typeshed"):  # the last one only type checkers see
                    found[top] = str(file.relative_to(ROOT))
    return found


@pytest.mark.parametrize("package", OURS)
def test_whatever_the_code_imports_is_declared(package: str) -> None:
    declared = names(PROJECT["dependencies"]).union(
        *(names(extra) for key, extra in PROJECT["optional-dependencies"].items() if key != "dev")
    )
    missing = {
        module: file
        for module, file in imported(ROOT / package).items()
        if DISTRIBUTION_OF.get(module, module).lower().replace("_", "-") not in declared
    }
    assert not missing


def test_the_extra_that_an_error_names_has_the_module() -> None:
    for module, extra in EXTRA_OF.items():
        assert DISTRIBUTION_OF.get(module, module).lower().replace("_", "-") in names(PROJECT["optional-dependencies"][extra])


def test_what_only_an_extra_brings_is_named_by_its_error() -> None:
    plain = names(PROJECT["dependencies"])
    modules = {module for package in OURS for module in imported(ROOT / package)}
    unnamed = {m for m in modules if DISTRIBUTION_OF.get(m, m).lower().replace("_", "-") not in plain} - set(EXTRA_OF)
    assert not unnamed


def test_console_scripts_name_functions_that_exist() -> None:
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        assert function in {node.name for node in ast.parse(Path(spec.origin).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_the_yaml_of_a_checkout_is_found() -> None:
    assert config_file("curation", "presets.yaml") == ROOT / "configs" / "curation" / "presets.yaml"
    for file in config_file().rglob("*.yaml"):
        assert yaml.safe_load(file.read_text()), file


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wheel_in_a_clean_environment_scores_a_clip(tmp_path: Path) -> None:
    """Build, install without this checkout on the path, and run the README's command on a clip of noise."""
    import av

    def run(*command: str | Path) -> str:
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run([str(part) for part in command], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "videos").mkdir()
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "videos" / "noise.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for _ in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    pip = (programs / "python", "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheel", ROOT)
    run(*pip, "install", "-c", ROOT / "constraints.txt", next((tmp_path / "wheel").glob("*.whl")))
    assert str(ROOT) not in run(programs / "python", "-c", "import manifests, sys; print(manifests.__file__, sys.path)")
    assert (
        run(programs / "python", "-c", "import importlib.util as u; print(u.find_spec('configs'), u.find_spec('tests'))").split()
        == ["None"] * 2
    )
    run(programs / "curation", "run", "--source", "folder", "--root", "videos", "--out", "out")
    rows = run(programs / "python", "-c", "import manifests; df = manifests.load('out'); print(len(df), df.status[0])")
    assert rows.split() == ["1", "scored"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    for script in PROJECT["scripts"]:
        assert "Usage" in run(programs / script, "--help")
