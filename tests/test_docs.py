"""Whatever a document names exists: commands and their options, make targets, files, modules, links."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PACKAGES = "manifests|curation|inference|training|benchmarks"
# Where the command of a module lies; the other modules that are run parse their own arguments, and their source is searched.
CLICK_COMMANDS = {
    "manifests": ("manifests.__main__", "main"),
    "curation": ("curation.cli", "cli"),
    "inference": ("inference.cli", "cli"),
    "inference.evaluation": ("inference.evaluation.cli", "cli"),
    "training": ("training.cli", "cli"),
    "training.demo": ("training.demo.run", "demo"),
}
SCRIPTS = {
    "curation": "curation",
    "manifests": "manifests",
    "megactor": "inference",
    "megactor-train": "training",
    "megactor-evaluate": "inference.evaluation",
}
COMMAND = re.compile(
    rf"python -m ((?:{PACKAGES})[\w.]*)([^`\n|#;]*)|^\s*({'|'.join(sorted(SCRIPTS, key=len, reverse=True))}) ([^`\n|#;]*)", re.M
)


def code_of(text: str) -> list[str]:
    """Fenced and indented blocks, and spans between backticks (which may be broken over two lines)."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    blocks += re.findall(r"(?:^ {4}\S.*\n)+", rest, re.M)
    return blocks + [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest)]


@cache
def click_command(module: str) -> click.Command:
    home, name = CLICK_COMMANDS[module]
    return getattr(importlib.import_module(home), name)


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    found = [file for file in (path.with_suffix(".py"), path / "__main__.py", path / "__init__.py") if file.is_file()]
    return found[0] if found else None


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}


def wrong_command(module: str, arguments: str) -> str | None:
    """What is wrong with `python -m module arguments`, if anything."""
    file = module_file(module)
    if file is None or not (file.name == "__main__.py" or "__main__" in file.read_text()):
        return f"python -m {module} cannot be run"
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", arguments))
    if module not in CLICK_COMMANDS:
        known = set(re.findall(r"--[a-z][\w-]*", file.read_text())) | {"--help"}
        return f"python -m {module} has no {sorted(options - known)}" if options - known else None
    command = click_command(module)
    words = arguments.split()
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z0-9-]+", words[0]):
        if words[0] not in command.commands:
            return f"python -m {module} has no command {words[0]}"
        command = command.commands[words.pop(0)]
    if module == "training" and isinstance(command, click.Group):
        command = command.commands["train"]
    unknown = options - options_of(command)
    return f"python -m {module} {command.name} has no {sorted(unknown)}" if unknown else None


@cache
def every_option() -> frozenset[str]:
    """Options of all our commands, and of the programs that the documents use beside them."""
    found: set[str] = set()
    for module in CLICK_COMMANDS:
        command = click_command(module)
        found |= options_of(command)
        for each in getattr(command, "commands", {}).values():
            found |= options_of(each).union(*map(options_of, getattr(each, "commands", {}).values()))
    sources = [*(ROOT / "benchmarks").glob("*.py"), *ROOT.glob("*/*/__main__.py"), *(ROOT / "docker").glob("*"), ROOT / "Makefile"]
    for file in sources:
        found |= set(re.findall(r"--[a-z][\w-]*", file.read_text()))
    return frozenset(found | {"--no-deps", "--num_processes"})


@cache
def defined_in(file: Path) -> frozenset[str]:
    """Names at the top of a module, its `__all__` included."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
            if "__all__" in names and isinstance(node.value, ast.List):
                names |= {element.value for element in node.value.elts if isinstance(element, ast.Constant)}
    return frozenset(names)


def wrong_module(name: str) -> bool:
    """Whether a dotted name is neither a module, nor a name at the top of one (what follows is not looked at)."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ROOT.joinpath(*parts[:length])
        if prefix.is_dir() and length == len(parts):
            return False
        for file in (prefix.with_suffix(".py"), prefix / "__init__.py"):
            if file.is_file():
                return length < len(parts) and parts[length] not in defined_in(file)
    return True


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-") for heading in headings}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(params=PAGES, ids=name_of)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = []
    for code in code_of(page.read_text()):
        code = code.replace("\\\n", " ")
        wrong += [wrong_command(module or SCRIPTS[script], rest or more) for module, rest, script, more in COMMAND.findall(code)]
    assert not [problem for problem in wrong if problem]


@pytest.mark.parametrize("place", [*PACKAGES.split("|"), "Makefile"])
def test_commands_named_by_the_code_exist(place: str) -> None:
    """Help texts and messages name commands too, and make runs them."""
    wrong = {}
    for file in (ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place]:
        for module, rest in re.findall(rf"python -m ((?:{PACKAGES})[\w.]*)([^`\n|#;\"'()]*)", file.read_text()):
            if problem := wrong_command(module.rstrip("."), "" if "{" in rest else rest):
                wrong[name_of(file)] = problem
    assert not wrong


def test_options_named_alone_exist(page: Path) -> None:
    named = {match for code in code_of(page.read_text()) for match in re.findall(r"^--[a-z][\w-]*", code)}
    assert not named - every_option()


def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = {match for code in code_of(page.read_text()) for match in re.findall(r"(?:^|[\s(&;])make ([a-z][a-z0-9-]*)", code)}
    assert not named - targets


@pytest.mark.parametrize("file", sorted((ROOT / "docker").glob("*.Dockerfile")), ids=lambda file: file.name)
def test_docker_files_make_what_exists(file: Path) -> None:
    text = re.sub(r"\\\n", " ", file.read_text())
    targets = set(re.findall(r"^([a-z.$()/A-Z][\w.$()/-]*):", (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv"), re.M))
    made = [target for line in re.findall(r"^RUN (.*)$", text, re.M) for target in re.findall(r"(?:^|&& *)make ([\w./-]+)", line)]
    assert made
    assert not set(made) - targets
    assert not {word for word in re.findall(r"^(\w+)", text, re.M)} - {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "ENTRYPOINT", "CMD"}
    default = re.findall(r'^CMD \["(.*)"\]$', text, re.M)
    assert set(default) <= targets
    assert len(default) == 1


def test_files_exist(page: Path) -> None:
    pattern = re.compile(rf"(?<![\w/.:-])((?:{PACKAGES}|configs|docs|tests|docker)/[\w/.*-]*)")
    named = {match.rstrip(".") for code in code_of(page.read_text()) for match in pattern.findall(code)}
    assert not {name for name in named if not any(ROOT.glob(name.rstrip("/")))}


def test_modules_and_what_they_define_exist(page: Path) -> None:
    pattern = re.compile(rf"(?<![\w/.-])((?:{PACKAGES})(?:\.[A-Za-z_]\w*)+)(?![\w/*]|\.yaml|\.parquet)")
    named = {match for code in code_of(page.read_text()) for match in pattern.findall(code)}
    assert not {name for name in named if wrong_module(name)}


def test_tests_that_are_picked_by_a_word_exist(page: Path) -> None:
    wrong = []
    for code in code_of(page.read_text()):
        for command in re.findall(r"pytest[^\n;`]*", code):
            words = re.findall(r"-k (\w+)", command)
            sources = "".join(
                file.read_text() for name in re.findall(r"tests/[\w/.*]+", command) for file in ROOT.glob(name) if file.is_file()
            )
            wrong += [f"-k {word} in {command}" for word in words if not re.search(rf"def test_\w*{word}", sources)]
    assert not wrong


def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("curation", "rum"),
        ("curation", "run --suorce x"),
        ("training", "--stgae 1"),
        ("inference.studio", ""),
        ("benchmarks.model", "--stge"),
    ],
)
def test_a_planted_mistake_is_found(module: str, arguments: str) -> None:
    assert wrong_command(module, arguments)
    assert wrong_module("manifests.laod")


def test_the_map_names_every_room_once() -> None:
    """The first column of the tables of docs/architecture.md: every folder of curation, inference and training."""
    cells = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    named = sorted(name for cell in cells for name in re.findall(r"`(\w+/\w+)/`", cell))
    rooms = sorted(
        name_of(file.parent) for package in ("curation", "inference", "training") for file in (ROOT / package).glob("*/__init__.py")
    )
    assert named == rooms
