"""Finds links in text and in HTML, and the text that a reader of HTML sees."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

_SCHEMES = ("http://", "https://", "mailto:")
_LINK = re.compile(r"\b(?:https?://|mailto:)[^\s<>\"\x00-\x1f\x7f]+", re.I)
# A token in a link may end with "-" or "_".
_PUNCTUATION = ".,;:!?'*\u2026\u2019\u201d\u00bb"
_CLOSING = {")": "(", "]": "[", "}": "{"}

# A browser takes these for comments: conditional ones up to their end, others up to the first ">".
# HTMLParser raises AssertionError for some, and differs in its versions.
_MARKED_SECTION = re.compile(r"<!--\[.*?-->|<!\[[^>]*>?", re.DOTALL)
_HIDDEN = {"script", "style", "template", "title"}
_INLINE = {
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "kbd", "mark", "s", "samp", "small",
    "span", "strong", "sub", "sup", "tt", "u", "var", "wbr",
}  # fmt: skip


def in_text(text: str) -> Iterator[str]:
    """The links in a text, without the punctuation after them."""
    for match in _LINK.finditer(text):
        if link := _trimmed(match[0]):
            yield link


def without_links(text: str) -> str:
    """The text with a space in the place of each link."""
    return _LINK.sub(" ", text)


def _trimmed(link: str) -> str:
    """Without punctuation at the end, and without closing brackets that the link does not open."""
    while link[-1] in _PUNCTUATION or (
        link[-1] in _CLOSING and link.count(link[-1]) > link.count(_CLOSING[link[-1]])
    ):
        link = link[:-1]
        if link.lower().endswith(_SCHEMES):
            break
    return "" if link.lower().endswith(_SCHEMES) else link


class Page(HTMLParser):
    """Parsed HTML: ``links`` has the addresses of its links, ``text`` what a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self._pieces: list[str] = []
        self._hidden: list[str] = []
        self.feed(_MARKED_SECTION.sub("", html))
        self.close()
        lines = (" ".join(line.split()) for line in "".join(self._pieces).split("\n"))
        self.text = "\n".join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        self._separate(tag)
        if tag in ("a", "area"):
            # browsers strip and remove these, too
            address = re.sub(r"[\t\r\n]", "", dict(attrs).get("href") or "").strip()
            if address.lower().startswith(_SCHEMES):
                self.links.append(address)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._pieces.append(re.sub(r"\s+", " ", data))

    def _separate(self, tag: str) -> None:
        if tag not in _INLINE:
            self._pieces.append(" " if tag in ("td", "th", "img") else "\n")
