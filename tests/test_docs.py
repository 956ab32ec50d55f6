"""The documentation is true: its code runs, its commands run, its links lead somewhere, its reference is the real one.

A block that cannot run here carries a comment, `<!-- not run: why -->`, on the line before it; these are counted.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loopwright.cli import application, main
from loopwright.memory import open_memory
from loopwright.settings import settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted(path for folder in ("docs", "examples", "models") for path in (ROOT / folder).rglob("*.md"))

NOT_RUN = {"README.md": 1}
"""How many blocks of each page do not run. This may only shrink."""

LINE_CHARS = 120
LONG_LINES = {"docs/console.md", "docs/recipe-data.md", "docs/recipe.md"}
"""Pages with longer lines; this may only shrink. `docs/cli.md` is written by a program."""

BLOCK = re.compile(
    r"(?P<excuse><!-- not run: .+ -->\n)?^```(?P<language>python|console)\n(?P<body>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    line: int
    language: str
    body: str
    runs: bool


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("body")) + 1
        yield Block(line, found["language"], found["body"], found["excuse"] is None)


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.language == language and block.runs for block in blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's blocks run in order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks(page):
        if block.language == "python" and block.runs:
            padded = "\n" * (block.line - 1) + block.body  # so that a traceback names the page's own line
            exec(compile(padded, page, "exec"), namespace)


@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's commands succeed in order, on one memory; SESSION stands for the session that was begun last."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.language != "console" or not block.runs:
            continue
        for line in re.findall(r"^\$ (.+)$", block.body.replace("\\\n", " "), flags=re.M):
            program, *arguments = shlex.split(line, comments=True)
            assert program == "loopwright", f"{name_of(page)}: `{line}` does not run here; mark its block as not run"
            arguments = [last_session() if word == "SESSION" else word for word in arguments]
            assert main(arguments) == 0, f"{name_of(page)}: `{line}`"


def last_session() -> str:
    with open_memory(settings().memory_url) as memory:
        return max(memory.sessions.list(), key=lambda row: row.created_at).id


def test_what_does_not_run_is_counted() -> None:
    counted = {name_of(page): sum(not block.runs for block in blocks(page)) for page in PAGES}
    assert {page: n for page, n in counted.items() if n} == NOT_RUN


def test_lines_are_short() -> None:
    long = {name_of(page) for page in PAGES for line in page.read_text("utf-8").splitlines() if len(line) > LINE_CHARS}
    assert long - {"docs/cli.md"} == LONG_LINES


def test_every_excuse_excuses_a_block() -> None:
    for page in PAGES:
        excuses = page.read_text(encoding="utf-8").count("<!-- not run:")
        assert excuses == sum(not block.runs for block in blocks(page)), name_of(page)


def test_every_page_is_in_the_sites_navigation() -> None:
    """And nothing else is. `make site` builds it, and refuses links that lead nowhere."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- (?:[^:\n]+: )([\w/-]+\.md)$", text, flags=re.M)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(named) == sorted(pages)


@pytest.mark.slow
def test_the_site_is_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "Run a session" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{name_of(page)} links to {target}"
            assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_cli_reference_is_the_real_help() -> None:
    written = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "cli_reference.py")], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == written.stdout, "run `make docs`"


def test_every_command_in_the_docs_exists() -> None:
    """Also in running text: `loopwright sessions verify` and the like."""
    groups = {words for words, command in application.commands() if hasattr(command, "list_commands")}
    known = {words for words, _ in application.commands()}
    for page in PAGES:
        for line in re.findall(r"`loopwright ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
            words = tuple(line.split())
            named = next(words[:n] for n in range(len(words), -1, -1) if words[:n] in known)
            takes_any = named == ("run",) and ":" in line  # a loop by `module:attribute`
            assert named and (named not in groups or named == words or takes_any), f"{name_of(page)}: {line}"


def test_the_readme_says_what_this_is_not() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "not a medical device" in readme
    assert "docs/images/carm-demo.png" in readme


def test_make_help_lists_every_target_that_is_documented(run_make: Callable[..., str]) -> None:
    listed = set(re.findall(r"make ([\w-]+)", run_make("help")))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)\b", page.read_text(encoding="utf-8"))) <= listed, name_of(page)
    assert {"demo", "test", "help"} <= listed


@pytest.fixture
def run_make() -> Callable[..., str]:
    def run(*arguments: str) -> str:
        return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    return run
