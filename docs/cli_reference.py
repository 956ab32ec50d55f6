"""Prints docs/cli.md: every command's real `--help`, and every setting. `make docs` writes it, a test compares it."""

import os

os.environ["TYPER_USE_RICH"] = "0"  # plain text; read when typer is imported
os.environ["COLUMNS"] = "100"

from collections.abc import Iterator

import typer
from typer.core import TyperCommand

from loopwright.cli.application import commands
from loopwright.cli.output import EXIT_CODES
from loopwright.settings import Settings

HEAD = """\
# The command line

<!-- Written by `make docs` from the real `--help`; do not edit. -->

Results go to stdout, everything else to stderr. With `--json` a command prints one JSON object a line, and a failure is
one more such object: `{"error": {"type": ..., "message": ..., "exit_code": ...}}`. Exit codes:

| code | meaning |
|---|---|
"""


def help_of(words: tuple[str, ...], command: TyperCommand) -> str:
    """A command's help as the terminal shows it, without the list of exit codes."""
    root = typer.Context(commands()[0][1], info_name="loopwright", help_option_names=["-h", "--help"])
    context = typer.Context(command, info_name=" ".join(words), parent=root) if words else root
    return command.get_help(context).split("\n\n  Exit codes:")[0].rstrip()


def reference() -> Iterator[str]:
    """The page, part by part."""
    yield HEAD + "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    for words, command in commands():
        yield f"\n## `{' '.join(('loopwright', *words))}`\n\n```text\n{help_of(words, command)}\n```\n"
    yield "\n## Settings\n\nVariables overrule the TOML file: `$LOOPWRIGHT_CONFIG`, else `./loopwright.toml`, else "
    yield "`loopwright.toml` in the user's\nconfiguration folder. `loopwright config show` prints what is in force.\n\n"
    yield "| variable | key | default | |\n|---|---|---|---|\n"
    for section, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for name, leaf in inner.items() if inner else [("", field)]:
            key = f"{section}.{name}" if name else section
            default = "" if leaf.default_factory else f"`{leaf.default!r}`"
            variable = "LOOPWRIGHT_" + key.upper().replace(".", "__")
            yield f"| `{variable}` | `{key}` | {default} | {leaf.description or ''} |\n"


if __name__ == "__main__":
    typer.echo("".join(reference()), nl=False)
