"""A hook of MkDocs: what pages link to outside docs/ is a file of the repository, and is named in place of a link."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links that leave the site."""
    depth = page.file.src_uri.count("/")

    def named(found: re.Match[str]) -> str:
        text, up, path = found.groups()
        if up.count("../") <= depth:
            return found.group()
        return f"`{path}`" if text in (path, path.rsplit("/", 1)[-1]) else f"{text} (`{path}`)"

    return _OUTSIDE.sub(named, markdown)
