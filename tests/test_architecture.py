"""The house's walls: who may import whom, who may print, and what every file must have. Reads the source, runs none."""

import ast
import graphlib
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from heads_samples import ROOT

ROOMS = ("cache", "extract", "heads", "headstart")
SOURCES = sorted([ROOT / "cli.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])
FORBIDDEN = {
    "cache": {"extract", "heads", "headstart", "cli", "torch", "torchvision", "PIL", "sklearn"},
    "extract": {"heads", "headstart", "cli"},
    "heads": {"extract", "headstart", "cli", "PIL", "torchvision"},
    "headstart": {"cli"},
}
"""What the files of each room never import, anywhere."""
HEAVY = ("torch", "torchvision", "sklearn", "numpy", "h5py", "matplotlib")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement may mean, in full: `from package import name` may name a module too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
        yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def imported(node: ast.AST) -> Iterator[str]:
    """The rooms and the foreign packages that an import statement names."""
    yield from (name.removeprefix("headstart.core.").partition(".")[0] for name in modules(node))


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: functions' bodies and `if TYPE_CHECKING` do not."""
    for statement in body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        yield from outside_functions(statement)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from outside_functions(child)


def writes(tree: ast.Module) -> Iterator[str]:
    """The places where a module writes to the terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "click.secho"):
            yield f"line {node.lineno}: {ast.unparse(node.func)}"
        elif isinstance(node, ast.Call) and ast.unparse(node).startswith(("os.write(1,", "os.write(2,")):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Console" and "file=" not in ast.unparse(node):
            yield f"line {node.lineno}: {ast.unparse(node)}"  # rich finds a stream by itself
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("sys", "click"):
            names = {alias.name for alias in node.names} & {"stdout", "stderr", "echo", "secho"}
            yield from (f"line {node.lineno}: {name}" for name in names)


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions and classes with their public methods, by name; not what functions define within."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def is_attribute_stub(node: Definition) -> bool:
    """An attribute of a Protocol, `@property def name(self) -> str: ...`: the class's docstring speaks for it."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return decorators == ["property"] and [ast.unparse(statement) for statement in node.body] == ["..."]


DOCUMENTED = {
    node.name
    for path in SOURCES
    for owner in ast.walk(parsed(path))
    if isinstance(owner, ast.ClassDef)
    for node in owner.body
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
}
"""The names of methods that some class of ours explains."""


def test_there_is_source_to_look_at() -> None:
    assert len(SOURCES) > 20
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == {*ROOMS, "cli.py"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "cli.py"], ids=name_of)
def test_no_room_imports_what_it_must_not_know(path: Path) -> None:
    found = {name for node in ast.walk(parsed(path)) for name in imported(node)}
    assert not found & FORBIDDEN[path.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_within_the_house_are_absolute(path: Path) -> None:
    relative = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "cli.py"], ids=name_of)
def test_only_the_command_line_writes_to_the_terminal(path: Path) -> None:
    assert list(writes(parsed(path))) == []


def test_the_command_line_does_write_to_the_terminal() -> None:
    # the test above looks for the right words
    assert any("click.echo" in place for place in writes(parsed(ROOT / "cli.py")))


@pytest.mark.parametrize(
    "text", ["os.write(2, b'')", "Console()", "Console(stderr=True)", "sys.stderr", "from sys import stdout", "print()"]
)
def test_each_way_to_the_terminal_is_known(text: str) -> None:
    assert list(writes(ast.parse(text)))
    assert not list(writes(ast.parse("os.write(file, b''); Console(file=stream)")))


JOINS = [path for path in SOURCES if name_of(path).startswith("headstart/") and "console" not in path.parts]


@pytest.mark.parametrize("path", JOINS, ids=name_of)
def test_the_joins_know_no_terminal(path: Path) -> None:
    found = {name for node in ast.walk(parsed(path)) for name in modules(node)}
    assert not [name for name in found if name.startswith(("headstart.console", "click", "rich"))]


def test_the_command_line_imports_nothing_heavy_before_it_must() -> None:
    found = {name for node in run_at_import(parsed(ROOT / "cli.py").body) for name in imported(node)}
    assert not found & {*HEAVY, "rich", "PIL", "scipy"}


def test_help_is_there_before_anything_heavy_is() -> None:
    heavy = (*HEAVY, "rich", "PIL", "scipy")
    code = f"import sys, cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_everything_public_says_what_it_does(path: Path) -> None:
    spoken = [(name, node) for name, node in public(parsed(path).body) if not is_attribute_stub(node)]
    silent = [(name, node) for name, node in spoken if not ast.get_docstring(node)]
    # a method that fulfils a protocol or overrides a documented one says nothing new
    missing = [f"{name} (line {node.lineno})" for name, node in silent if "." not in name or node.name not in DOCUMENTED]
    assert "\n".join(missing) == ""


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_that_is_read_can_run_or_goes_unverified(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(" ", "")
    # named so that they can be refused: each would run, or let pass, what somebody else wrote into a file; the last is
    # torch's switch for a whole process, which is no better in a command that users are told to copy
    for danger in ("pickle.load", "allow_pickle=True", "weights_only=False", "verify=False", "NO_WEIGHTS_ONLY_LOAD"):
        assert danger not in text


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MEDIAN_LINES_OF_A_FUNCTION = 300, 50, 10
MOST_LINES_OF_THE_COMMAND_LINE = 500


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_can_be_read_at_one_sitting(path: Path) -> None:
    most = MOST_LINES_OF_THE_COMMAND_LINE if path.name == "cli.py" else MOST_LINES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def lengths() -> dict[str, int]:
    """The lines of every function, by file and name; decorators and what stands before them not counted."""
    return {
        f"{name_of(path)}:{node.lineno} {node.name}": node.body[-1].end_lineno - node.lineno + 1  # type: ignore[operator]
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_functions_are_small() -> None:
    found = lengths()
    assert {name: lines for name, lines in found.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}
    assert statistics.median(found.values()) <= MEDIAN_LINES_OF_A_FUNCTION


MOST_FILES = {"extract": 11, "heads": 11, "headstart": 10}
"""The files that a folder of each room may hold besides its `__init__.py`."""
FLOORS = sorted({path.parent for path in SOURCES if path.relative_to(ROOT).parts[0] in MOST_FILES})


@pytest.mark.parametrize("folder", FLOORS, ids=name_of)
def test_a_floor_can_be_overseen(folder: Path) -> None:
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES[folder.relative_to(ROOT).parts[0]]


def module_of(path: Path) -> str:
    """The full name under which a source file is imported."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name if name.partition(".")[0] == "headstart" else f"headstart.core.{name}"


def imports() -> dict[str, set[str]]:
    """Which of our modules each of them imports, anywhere but for its types alone; a package stands for its own file."""
    ours = {module_of(path): path for path in SOURCES}
    found: dict[str, set[str]] = {}
    for name, path in ours.items():
        nodes = (node for statement in parsed(path).body for node in at_work(statement))
        named = {one for node in nodes for one in modules(node)}
        found[name] = {one if one in ours else one.rpartition(".")[0] for one in named} & ours.keys() - {name}
    return found


def at_work(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but what stands under `if TYPE_CHECKING`."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from at_work(child)


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        graphlib.TopologicalSorter(imports()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_every_room_is_a_package() -> None:
    # without __init__.py a foreign `cache` in site-packages wins, even under `python cli.py`
    folders = {path.parent for path in SOURCES if path.parent != ROOT}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_project_installs_every_room_below_one_name() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["headstart"]
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"headstart"}
    assert wheel["force-include"] == {name: f"headstart/core/{name}" for name in sorted(rooms | {"cli.py"})}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_has_one_name(path: Path) -> None:
    """`cache.key` would be another module than `headstart.core.cache.key`, with other classes."""
    named = {name.partition(".")[0] for node in ast.walk(parsed(path)) for name in modules(node)}
    assert not named & {"cache", "extract", "heads", "cli"}
