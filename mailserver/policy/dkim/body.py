"""Hashes of a message body that arrives in chunks, in canonical form (RFC 6376 section 3.4).

simple     empty lines at the end are dropped, and a missing CRLF at the end is added; an empty body is CRLF
relaxed    the same, and white space at the end of lines is dropped, other white space is one space; an
           empty body stays empty

A line ends with CRLF; a CR or LF alone is like any other octet. The memory in use is the same for all bodies.
"""

import hashlib
from collections.abc import Iterable

import attrs

from mailserver.policy.dkim.blanks import single_blanks

_LINES_AT_ONCE = 4096


@attrs.frozen
class BodyForm:
    """What a signature covers of the body: its canonical form, up to ``length`` octets of it if not None."""

    relaxed: bool
    length: int | None = None


class BodyHashes:
    """The SHA-256 hashes of a body in several forms, computed in one pass for each canonicalization."""

    def __init__(self, forms: Iterable[BodyForm]) -> None:
        lengths: dict[bool, set[int]] = {}
        for form in forms:
            wanted = lengths.setdefault(form.relaxed, set())
            if form.length is not None:
                wanted.add(form.length)
        self._canonical = [_Canonical(relaxed, _Prefixes(wanted)) for relaxed, wanted in lengths.items()]

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        for canonical in self._canonical:
            canonical.feed(chunk)

    def finish(self) -> dict[BodyForm, bytes]:
        """The body has ended. A form whose length is more than there is has no hash."""
        return {form: digest for canonical in self._canonical for form, digest in canonical.finish()}


class _Prefixes:
    """Hashes a stream of octets, and its prefixes of certain lengths."""

    def __init__(self, lengths: Iterable[int]) -> None:
        self._hash = hashlib.sha256()
        self._wanted = sorted(lengths, reverse=True)
        self.octets = 0
        self.found: dict[int | None, bytes] = {}
        self._note()

    def update(self, data: bytes) -> None:
        end = self.octets + len(data)
        while self._wanted and self._wanted[-1] <= end:
            cut = self._wanted[-1] - self.octets
            self._hash.update(data[:cut])
            self.octets += cut
            data = data[cut:]
            self._note()
        self._hash.update(data)
        self.octets = end

    def _note(self) -> None:
        while self._wanted and self._wanted[-1] == self.octets:
            self.found[self._wanted.pop()] = self._hash.digest()

    def finish(self) -> dict[int | None, bytes]:
        return {**self.found, None: self._hash.digest()}


class _Canonical:
    """Brings a body into one of the two forms."""

    def __init__(self, relaxed: bool, prefixes: _Prefixes) -> None:
        self._relaxed = relaxed
        self._prefixes = prefixes
        self._held = b""  # the end of what has come, if more octets may change it
        self._lines = 0  # line ends that count only if more text comes

    def feed(self, chunk: bytes) -> None:
        data = self._held + chunk
        if self._relaxed:
            undecided = _trailing_blanks(data)
            blanks, cr = data[undecided:].rstrip(b"\r"), data.endswith(b"\r")
            self._held = (b" " if blanks else b"") + (b"\r" if cr else b"")
            data = data[:undecided]
            data = single_blanks(data).replace(b" \r\n", b"\r\n")
        elif data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        else:
            self._held = b""
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        text = _end_of_text(data)
        if text:
            self._flush()
            self._prefixes.update(data[:text])
        self._lines += (len(data) - text) // 2

    def _flush(self) -> None:
        while self._lines:
            number = min(self._lines, _LINES_AT_ONCE)
            self._prefixes.update(b"\r\n" * number)
            self._lines -= number

    def finish(self) -> Iterable[tuple[BodyForm, bytes]]:
        # White space at the end of the last line is dropped even if the line has no CRLF.
        held = b"" if self._held == b" " else self._held
        if held:
            self._flush()
            self._prefixes.update(held)
        if self._prefixes.octets or not self._relaxed:
            self._prefixes.update(b"\r\n")
        for length, digest in self._prefixes.finish().items():
            yield BodyForm(self._relaxed, length), digest


def _trailing_blanks(data: bytes) -> int:
    """The position of the white space at the end, which a CR may follow."""
    end = len(data) - data.endswith(b"\r")
    return len(data[:end].rstrip(b" \t"))


def _end_of_text(data: bytes) -> int:
    """The position of the empty lines at the end: the CRLFs with nothing behind them."""
    if not data.endswith(b"\r\n"):
        return len(data)
    begin = len(data.rstrip(b"\r\n"))
    ends = data[begin:]
    # In these octets a CR and an LF that do not stand together end the run of CRLFs.
    first = max(ends.rfind(b"\r\r") + 1, ends.rfind(b"\n\n") + 2 if b"\n\n" in ends else 0)
    return begin + (first or int(ends.startswith(b"\n")))
