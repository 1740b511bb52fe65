"""Text in the form of manual pages (man(7) of groff and mandoc)."""

import re
import textwrap
from collections.abc import Iterable

from mailserver import __version__

_WIDTH = 78
_MARKUP = re.compile(r"`([^`]+)`")
_SENTENCE_END = re.compile(r"(?<=[.:]) (?=[A-Z\"\\])")


def head(name: str, section: int, title: str, about: str) -> str:
    """The beginning of a page."""
    return (
        f'.TH {name.upper()} {section} "" "mailserver {__version__}" "{title}"\n'
        f".SH NAME\n{escaped(name)} \\- {escaped(about)}\n"
    )


def escaped(text: str) -> str:
    """Text within a line. Backquotes make a part bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return _MARKUP.sub(r"\\fB\1\\fR", text)


def bold(text: str) -> str:
    """Text in bold."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    """Text in italics: a name of a file, or a word to replace."""
    return f"\\fI{escaped(text)}\\fR"


def section(name: str) -> str:
    """A heading."""
    return f".SH {escaped(name.upper())}\n"


def subsection(name: str) -> str:
    """A heading below a section."""
    return f'.SS "{escaped(name)}"\n'


def paragraphs(*texts: str) -> str:
    """Paragraphs after a heading. White space in them does not matter."""
    return ".PP\n".join(map(_lines, texts))


def item(tag: str, *texts: str) -> str:
    """An item of a list: its tag, which is escaped already, and a paragraph."""
    return f".TP\n{tag}\n" + _lines(" ".join(texts))


def example(lines: Iterable[str]) -> str:
    """Lines as they are, after a heading."""
    return ".nf\n" + "".join(f"{_guarded(escaped(line))}\n" for line in lines) + ".fi\n"


def _lines(text: str) -> str:
    """Short lines, and a new one for each sentence, as formatters want it."""
    lines = []
    for sentence in _SENTENCE_END.split(escaped(" ".join(text.split()))):
        lines += textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{_guarded(line)}\n" for line in lines)


def _guarded(line: str) -> str:
    """A line that begins like a request is none."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
