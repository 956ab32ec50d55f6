"""Reads a report as a browser would find it: its elements, its text, and whether it stands alone."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """A page that is balanced, and its parts."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = file.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All that a reader sees, white space folded."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of every such element; `class_` asks for one of its classes."""
        wanted_class = attributes.pop("class_", None)
        return [
            found
            for name, found in self.elements
            if name == tag
            and (wanted_class is None or wanted_class in found.get("class", "").split())
            and all(found.get(k) == v for k, v in attributes.items())
        ]

    def pictures(self) -> list[Image.Image]:
        """Every embedded picture, decoded."""
        uris = [a["href"] for tag, a in self.elements if tag == "image"] + [a["src"] for a in self.all("img")]
        found: list[Image.Image] = []
        for uri in uris:
            head, _, data = uri.partition(";base64,")
            assert head == "data:image/png"
            picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            picture.load()
            found.append(picture)
        return found

    def assert_stands_alone(self) -> None:
        """No script, nothing loaded from anywhere, every inner link leads somewhere."""
        tags = {tag for tag, _ in self.elements}
        assert not tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
        ids = [a["id"] for _, a in self.elements if "id" in a]
        assert len(ids) == len(set(ids))
        for tag, attributes in self.elements:
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
                if name in attributes:
                    link = attributes[name]
                    assert link.startswith("data:") or link[1:] in ids, f"<{tag} {name}={link[:80]!r}>"
        style = "".join(re.findall(r"<style>(.*?)</style>", self.source, flags=re.S))
        assert "url(" not in style
        assert "@import" not in style
        assert self.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"].startswith(
            "default-src 'none'"
        )
