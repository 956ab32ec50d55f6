"""The repository's shape: six linked folders, checkers that really see them, and house rules that may only tighten.

Style rules that ruff, mypy, pyright and import-linter know are not repeated here; that they bite, in every folder, is.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest

from loopwright.graphs.registry import LOOPS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "loopwright"
FOLDERS = ("agents", "finetune", "graphs", "memory", "models", "tools")
BIN = Path(sys.executable).parent

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

# Allow-lists: an entry that is no longer needed fails the test, so these may only shrink.
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
NAMES_A_LOOP = {
    "graphs/registry.py",  # the one line that registers each loop
    "src/loopwright/settings.py",  # the C-arm's section of the settings
}
BROAD_EXCEPTS = {
    "src/loopwright/cli/application.py",  # the one place that turns an error into a message and an exit code
    "tools/carm/render/deepdrr/worker.py",  # a process of its own: says over the pipe why it could not draw
    "models/background.py",  # hands whatever was raised in a thread to the thread that waits for it
}


@cache
def tree_of(path: Path) -> ast.Module:
    """A module's syntax tree, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> list[Path]:
    """Every module of the package, by its real path."""
    roots = [PACKAGE, *(ROOT / folder for folder in FOLDERS)]
    found = [path for root in roots for path in root.rglob("*.py")]
    return sorted({path.resolve() for path in found})


@cache
def sources() -> list[Path]:
    """The package, and the code around it."""
    around = [path for folder in ("tests", "benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py")]
    return sorted([*modules(), *around])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name_of(path)}:{node.name}", node


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_package_links_to_the_folders(folder: str) -> None:
    link = PACKAGE / folder
    repair = (
        f"`src/loopwright/{folder}` must be a symbolic link to `../../{folder}`. Repair: "
        "`git config core.symlinks true && git checkout -- src/loopwright` (on Windows, with developer mode on)."
    )
    assert link.is_symlink() and link.readlink() == Path("../..") / folder, repair
    assert (link / "__init__.py").is_file(), repair


def test_only_these_folders_are_linked() -> None:
    assert sorted(path.name for path in PACKAGE.iterdir() if path.is_symlink()) == list(FOLDERS)


def test_the_layers_see_every_module() -> None:
    seen = set(grimp.build_graph("loopwright", cache_dir=None).modules)
    for path in modules():
        parts = path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT).with_suffix("").parts
        name = ".".join(("loopwright", *parts)).removesuffix(".__init__")
        assert name in seen, f"import-linter does not see `{name}`"


def contracts() -> list[dict[str, Any]]:
    """import-linter's contracts."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return list(tools["importlinter"]["contracts"])


def contracted() -> set[str]:
    """Every module that a contract names."""
    lines = [line for contract in contracts() for line in contract.get("layers") or contract["modules"]]
    return {name for line in lines for name in re.split(r"[|\s]+", line)}


def test_every_part_has_a_layer() -> None:
    layered = {name for layer in contracts()[0]["layers"] for name in re.split(r"[|\s]+", layer)}
    parts = {f"loopwright.{p.stem}" for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert parts - {"loopwright.__init__", "loopwright.__main__", "loopwright.__pycache__"} == layered


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Every import of one module by another, also inside functions and under TYPE_CHECKING."""
    return grimp.build_graph("loopwright", cache_dir=None)


def circles(imports: grimp.ImportGraph) -> list[list[str]]:
    """What is left, with its imports, when modules that import none or are imported by none are removed repeatedly."""
    rest = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    while True:
        imported = set().union(*rest.values())
        kept = {m: found & rest.keys() for m, found in rest.items() if found & rest.keys() and m in imported}
        if kept == rest:
            return sorted([m, *sorted(found)] for m, found in rest.items())
        rest = kept


def test_no_modules_import_each_other(imports: grimp.ImportGraph) -> None:
    assert circles(imports) == []


def loop_of(module: str) -> str | None:
    """The loop to which a module belongs, by its folder's or file's name."""
    return next((part for part in module.split(".") if part in LOOPS), None)


def test_loops_do_not_know_each_other(imports: grimp.ImportGraph) -> None:
    """In no part, nor across parts; import-linter's contracts say so of the loops that come with the package."""
    crossing = [
        f"{module} imports {other}"
        for module in imports.modules
        if (own := loop_of(module))
        for other in imports.find_modules_directly_imported_by(module)
        if loop_of(other) not in (None, own)
    ]
    assert crossing == []


def test_shared_code_imports_no_loop(imports: grimp.ImportGraph) -> None:
    named = {
        module
        for module in imports.modules
        if loop_of(module) is None
        for other in imports.find_modules_directly_imported_by(module)
        if loop_of(other)
    }
    assert named == set()


def test_shared_code_names_no_loop() -> None:
    """Neither in an identifier nor in a string; docstrings and comments may give a loop as an example."""
    named = [loop for loop in (*LOOPS, "c_arm", "surgeon", "surgical") if loop != "drive"]
    others = "|".join(loop.replace("_", "[-_ ]?") for loop in named)
    name = re.compile(rf"(?i:{others})|(?<![a-z])[Dd]rive(?![a-z])")  # not a driver, and not what drives
    naming = set()
    for path in modules():
        parts = (*path.relative_to(ROOT).parts[:-1], path.stem)
        if not set(parts) & set(LOOPS) and any(name.search(word) for word in words_of(path)):
            naming.add(name_of(path))
    assert naming == NAMES_A_LOOP


def words_of(path: Path) -> Iterator[str]:
    """Identifiers and strings of a module, without its docstrings."""
    tree = tree_of(path)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        for field in ("id", "attr", "name", "arg", "module", "asname"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with this project's configuration in which every folder holds the same mistakes."""
    root = tmp_path_factory.mktemp("planted")
    (root / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    package = root / "src" / "loopwright"
    package.mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "tests" / "test_nothing.py").touch()
    for name in ("__init__", "settings", "log", "schema", "digests"):
        (package / f"{name}.py").touch()
    (package / "errors.py").write_text("import loopwright.schema\n")
    for folder in FOLDERS:
        (root / folder).mkdir()
        (root / folder / "__init__.py").touch()
        (root / folder / "wrong.py").write_text(
            'from . import x\nfrom tools import y\n__all__ = ["b", "a"]\nprint("said")\nvalue: int = "text"\n'
        )
        (package / folder).symlink_to(Path("../..") / folder)
    for name in contracted():
        folder, *inner = name.split(".")[1:]
        for depth in range(len(inner) + 1 if inner or folder in ("cli", "mcp", "web") else 0):
            part = (root if folder in FOLDERS else package).joinpath(folder, *inner[:depth])
            part.mkdir(exist_ok=True)
            (part / "__init__.py").touch()
    return root


def check(planted: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(planted / "src")}
    line = [str(BIN / command[0]), *command[1:]]
    return subprocess.run(line, cwd=planted, env=environment, capture_output=True, text=True, check=False)


def test_ruff_bites_in_every_folder(planted: Path) -> None:
    found = json.loads(check(planted, "ruff", "check", "--no-cache", "--output-format", "json", ".").stdout)
    codes = {(Path(item["filename"]).parent.name, item["code"]) for item in found}
    for folder in FOLDERS:
        for code in ("TID252", "TID251", "RUF022", "T201"):  # relative, bare root import, unsorted __all__, print
            assert (folder, code) in codes


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_bite_in_every_folder(planted: Path, checker: str) -> None:
    said = check(planted, checker, *(["--cache-dir=/dev/null"] if checker == "mypy" else [])).stdout
    for folder in FOLDERS:
        assert re.search(rf"{folder}/wrong\.py:5:\d*.*error", said), said


def test_layers_bite(planted: Path) -> None:
    done = check(planted, "lint-imports", "--no-cache")
    assert done.returncode == 1
    assert "loopwright.errors is not allowed to import loopwright.schema" in done.stdout


def test_modules_are_short() -> None:
    long = {name_of(p) for p in sources() if len(p.read_text(encoding="utf-8").splitlines()) >= MAX_MODULE_LINES}
    assert long == LONG_MODULES


def test_functions_are_short() -> None:
    long = {
        name
        for path in sources()
        for name, node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno + 1 >= MAX_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS


def test_modules_say_what_they_are() -> None:
    silent = [name_of(p) for p in modules() if p.read_text() and not ast.get_docstring(tree_of(p))]
    assert silent == []


def test_broad_excepts_are_counted() -> None:
    """Those that swallow; one that tidies up and ends in a bare `raise` hides nothing."""
    broad = {
        name_of(path)
        for path in modules()
        for handler in ast.walk(tree_of(path))
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type)))
        and ast.unparse(handler.body[-1]) != "raise"
    }
    assert broad == BROAD_EXCEPTS


def test_no_machine_paths() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("not a git checkout")
    machine_path = re.compile(rb"(?<![\w.>~}-])/(work|tmp|home|root|Users|opt)/\w")
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink() and b"\0" not in (content := path.read_bytes()):
            found += [f"{name}: {line!r}" for line in content.splitlines() if machine_path.search(line)]
    assert found == []
