"""The field Authentication-Results: what the checks of a message have found (RFC 8601).

    field        = "Authentication-Results:" [CFWS] authserv-id [CFWS version] ( no-result / 1*resinfo )
    no-result    = [CFWS] ";" [CFWS] "none"
    resinfo      = [CFWS] ";" [CFWS] method [CFWS] "=" [CFWS] result [CFWS reason] [CFWS 1*propspec]
    propspec     = ptype [CFWS] "." [CFWS] property [CFWS] "=" pvalue
    pvalue       = [CFWS] ( value / [ [ local-part ] "@" ] domain-name ) [CFWS]
    authserv-id, value = token / quoted-string          ; RFC 2045 section 5.1

Strangers decide many of the values. So values have a limited length, and are quoted if they are not plain
names. The field is always ASCII. The reason of a result is a comment behind it.
"""

import re
from collections.abc import Collection, Iterator

import attrs

from mailserver.mail.address import ReversePath
from mailserver.policy.arc.verifier import ARCResult
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.reputation.values import ClientReputation
from mailserver.policy.spf.values import SPFResult

_NAME = b"authentication-results"
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+|[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*@[A-Za-z0-9._-]+")
_UNPRINTABLE = re.compile(r"[^ -~]")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
# Also quotes and what separates results, which some programs look for in comments, too.
_IN_COMMENT = str.maketrans('()\\";=', "[]/',:")
_LINE = 76  # columns
_MAX_VALUE = 255
_MAX_COMMENT = 100

_FIELD = re.compile(rb"(?<=\r\n)(?![ \t])")
_SPECIAL = re.compile(rb'\\.?|[()";]', re.DOTALL)


@attrs.frozen(kw_only=True)
class MessageAuthentication:
    """The results of the checks of one message. One that was not made is None. ``reputation`` is that of the
    client at ``ip``."""

    spf: SPFResult | None = None
    reverse_path: ReversePath = None
    dkim: tuple[DKIMResult, ...] | None = None
    dmarc: DMARCResult | None = None
    arc: ARCResult | None = None
    ip: str = ""
    reputation: ClientReputation | None = None


def authentication_results(hostname: str, found: MessageAuthentication) -> bytes:
    """The field with the results, and a CRLF at its end. ``hostname`` is the name of this server."""
    lines = [f"Authentication-Results: {_value(hostname)}"]
    for words in _results(found):
        lines[-1] += ";"
        line = f"\t{words[0]}"
        for word in words[1:]:
            if len(line) + len(word) >= _LINE - 1:
                lines.append(line)
                line = f"\t  {word}"
            else:
                line += f" {word}"
        lines.append(line)
    if len(lines) == 1:
        lines[0] += "; none"
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def without_forged(head: bytes, ids: Collection[str]) -> bytes:
    """The header without the fields Authentication-Results that seem to be of this server (section 5).

    ``head``: whole lines of a header. ``ids``: the names of this server. A field with one of them anywhere
    in the place of the authserv-id is removed, even if the field is malformed.
    """
    if not ids or _NAME not in head.lower():
        return head
    names = re.compile(
        rb"(?<![A-Za-z0-9.-])(?:%b)(?![A-Za-z0-9-]|\.[A-Za-z0-9])"
        % b"|".join(re.escape(i.encode()) for i in ids),
        re.IGNORECASE,
    )
    return b"".join(field for field in _FIELD.split(head) if not _is_forged(field, names))


def _results(found: MessageAuthentication) -> Iterator[list[str]]:
    if found.spf is not None:
        # A name of HELO may be any text.
        is_host = _HOST.fullmatch(found.spf.domain) is not None
        problem = found.spf.problem if is_host else "no host name"
        yield _result("spf", found.spf.result, problem, _spf_property(found.spf, found.reverse_path, is_host))
    if found.dkim == ():
        yield ["dkim=none"]
    for one in found.dkim or ():
        yield _result(
            "dkim",
            one.result,
            one.reason or ("only a part of the body is signed" if one.partial else ""),
            ("header.d", one.domain),
            ("header.i", one.identity if one.identity != f"@{one.domain}" else ""),
            ("header.s", one.selector),
            ("header.a", one.algorithm),
            ("header.b", one.signature),
        )
    if found.dmarc is not None:
        policy = found.dmarc.policy if found.dmarc.record is not None else ""
        properties = ("header.from", found.dmarc.domain), ("policy.dmarc", policy)
        yield _result("dmarc", found.dmarc.result, found.dmarc.problem, *properties)
    if found.arc is not None and found.arc.result != "none":
        yield _result("arc", found.arc.result, found.arc.reason)
    if found.reputation is not None:
        yield from _client_results(found.reputation, found.ip)


def _client_results(reputation: ClientReputation, ip: str) -> Iterator[list[str]]:
    """The reverse DNS of the client (section 2.7.3), and the lists of good clients with it (RFC 8904)."""
    if reputation.reverse_dns is not None:
        found = reputation.reverse_dns
        yield _result("iprev", found.result, found.name, ("policy.iprev", ip))
    for listing in reputation.listings:
        if listing.zone.is_good:
            properties = ("dns.zone", listing.zone.name), ("policy.ip", listing.codes[0])
            yield _result("dnswl", "pass", "", *properties)


def _result(method: str, result: str, reason: str, *properties: tuple[str, str]) -> list[str]:
    """The words of one result. Properties without a value are left out."""
    words = [f"{method}={result}"]
    words += [f"{name}={_value(value)}" for name, value in properties if value]
    if reason:
        words.append(f"({_UNPRINTABLE.sub('?', reason[:_MAX_COMMENT]).translate(_IN_COMMENT)})")
    return words


def _spf_property(spf: SPFResult, reverse_path: ReversePath, is_host: bool) -> tuple[str, str]:
    """The identity that was checked. Of an address that a plain field cannot have it is the domain only."""
    if reverse_path is None:
        return "smtp.helo", spf.domain if is_host else ""
    address = f"{reverse_path.local}@{reverse_path.domain}"
    return "smtp.mailfrom", address if _PLAIN.fullmatch(address) else reverse_path.domain


def _value(text: str) -> str:
    """The text as it is, or as a quoted string."""
    text = text[:_MAX_VALUE]
    if _PLAIN.fullmatch(text):
        return text
    escaped = _UNPRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_forged(field: bytes, names: re.Pattern[bytes]) -> bool:
    name, colon, value = field.partition(b":")
    return (
        bool(colon) and name.strip(b" \t").lower() == _NAME and names.search(_authserv_id(value)) is not None
    )


def _authserv_id(value: bytes) -> bytes:
    """The text before the first semicolon, without comments and quotes; all of it if it is malformed."""
    kept: list[bytes] = []
    at = depth = 0
    quoted = False
    for special in _SPECIAL.finditer(value):
        if depth == 0:
            kept.append(value[at : special.start()])
        at = special.end()
        found = special[0]
        if found.startswith(b"\\"):
            if depth == 0:
                kept.append(found[1:])
        elif found == b'"':
            quoted = depth == 0 and not quoted
        elif quoted:
            kept.append(found)
        elif found == b"(":
            kept.append(b" ")
            depth += 1
        elif found == b")":
            depth = max(0, depth - 1)
        elif depth == 0:
            return b"".join(kept)
    return value.replace(b"\r\n", b"") if depth or quoted else b"".join([*kept, value[at:]])
