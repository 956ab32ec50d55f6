"""Reads one recipe from Markdown, as collections of them are kept: front matter, an ingredient list, numbered steps.

---
title: Pea soup                                  (or a first heading)
---
![Pea soup](pix/pea-soup.webp)

## Ingredients
- 500 g dried peas
## Directions                                    (or Instructions, Method, Steps, Preparation)
1. Soak the peas overnight.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from loopwright.errors import BadInput
from loopwright.tools.recipe.recipe import Recipe

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+(.+)$")
_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_MARKUP = re.compile(r"(\*\*|__|`)|\[([^\]]+)\]\([^)]*\)")
_INGREDIENTS = ("ingredient",)
_INSTRUCTIONS = ("direction", "instruction", "method", "step", "preparation")


def parse_markdown(text: str, path: Path, *, root: Path, licence: str = "") -> Recipe:
    """The recipe in `text`. Lists below sub-headings belong to their section; plain lines of steps are steps.

    Args:
        text: of the file.
        path: the file; its picture is looked for from its folder.
        root: the collection's folder, and above it: where a picture's path from the site's root is looked for.
        licence: where the front matter says none.

    Raises:
        BadInput: no title, no ingredient or no step.
    """
    front, body = _front_matter(text, path)
    sections, title = _sections(body)
    ingredients, instructions = _of(sections, _INGREDIENTS), _of(sections, _INSTRUCTIONS)
    title = str(front.get("title") or title or "")
    for name, found, expected in (
        ("title", title, "`title:` in the front matter, or a first heading `# Title`"),
        ("ingredients", ingredients, "a heading `## Ingredients` with a list below it"),
        ("instructions", instructions, "a heading `## Directions` with a list below it"),
    ):
        if not found:
            raise BadInput(f"`{path}`: has no {name}; expected {expected}.")
    return Recipe(
        title=title,
        ingredients=tuple(ingredients),
        instructions=tuple(instructions),
        image=_image(body, path, root),
        source=path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name,
        licence=str(front.get("licence") or front.get("license") or licence),
    )


def _front_matter(text: str, path: Path) -> tuple[dict[str, Any], str]:
    if not text.startswith("---\n"):
        return {}, text
    head, fence, body = text[4:].partition("\n---")
    try:
        found = yaml.safe_load(head) if fence else None
    except yaml.YAMLError as error:
        raise BadInput(f"`{path}`: its front matter is no YAML ({error}). Correct it.") from error
    if not isinstance(found, dict):
        raise BadInput(f"`{path}`: its front matter is {found!r:.60}; expected `title: ...` between lines of `---`.")
    return found, body


def _sections(body: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each section, by its lower-case heading, and the first heading of the top level."""
    sections: dict[str, list[str]] = {}
    title, current, depth = "", "", 0
    for line in body.splitlines():
        if heading := _HEADING.match(line):
            level, name = len(heading[1]), heading[2]
            if level == 1 and not title:
                title = name
            elif not current or level <= depth or _is_known(name):
                current, depth = name.lower(), level
            continue
        plain = _MARKUP.sub(lambda m: m[2] or "", line).strip()
        item = _ITEM.match(_MARKUP.sub(lambda m: m[2] or "", line))
        if current and plain and not plain.startswith("!"):
            sections.setdefault(current, []).append(item[1].strip() if item else f"\t{plain}")
    return sections, title


def _is_known(name: str) -> bool:
    return any(word in name.lower() for word in (*_INGREDIENTS, *_INSTRUCTIONS))


def _of(sections: dict[str, list[str]], words: tuple[str, ...]) -> list[str]:
    """The lines of the first section with such a heading: its list where it has one, else its plain lines."""
    lines = next((lines for name, lines in sections.items() if any(word in name for word in words)), [])
    return [line for line in lines if not line.startswith("\t")] or [line.strip() for line in lines]


def _image(body: str, path: Path, root: Path) -> Path | None:
    """The first picture that the text shows and that is there."""
    for found in _IMAGE.finditer(body):
        name = found[1].lstrip("/")
        for folder in (path.parent, root, root / "static", root.parent, root.parent / "static"):
            if (folder / name).is_file():
                return folder / name
    return None
