"""The arguments of commands, read from text (RFC 5321 section 4.1.1 and 4.1.2).

    Reverse-path   = Path / "<>"
    Forward-path   = "<Postmaster@" Domain ">" / "<Postmaster>" / Path
    Path           = "<" [ A-d-l ":" ] Mailbox ">"
    A-d-l          = At-domain *( "," At-domain )
    Mail-parameters = esmtp-param *(SP esmtp-param)
    esmtp-param    = esmtp-keyword ["=" esmtp-value]
    esmtp-keyword  = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
    esmtp-value    = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)     ; RFC 6531 section 3.3

Unless ``strict_syntax`` is set, parsers also accept the loose forms of old and small programs: a path without
angle brackets, a space after the colon, a local part without a domain, any printable name after EHLO, white
space and comments between the parts of a path (RFC 5322 section 3.2.2), tabs for spaces, a local part with a
leading, trailing or double dot, a dot after the domain. Parsers raise
:class:`~mailserver.session.verbs.Refused`.
"""

import re

from mailserver.errors import AddressError
from mailserver.mail.address import MAX_LOCAL_PART, Address, ReversePath, parse_domain, split_local_part
from mailserver.mail.envelope import Parameters
from mailserver.session.verbs import Refused
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import SENDER_OUTSIDE_ASCII, reply, syntax_error

_ROUTE = re.compile(r"@[^,:@<>\s]+(?:,@[^,:@<>\s]+)*:")
_CFWS = " \t("
# The usual form of a path, which is parsed fast. All other paths take the slow way.
_USUAL_PATH = re.compile(r"<([A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*)@([A-Za-z0-9.-]*[A-Za-z0-9])>(?![^ \t])")
_DOMAIN = re.compile(r"\[[^\]>\t ]*\]|[^>(\t ]*")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\U0010ffff]+))?")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]+/=~-]{1,255}")

UTF8 = "SMTPUTF8"


def decode(raw: bytes, options: SMTPOptions, *, any_charset: bool = False) -> str:
    """Decode an argument, which must be printable ASCII or UTF-8. It may have tabs.

    With ``any_charset``, octets that are not UTF-8 become surrogates, unless the syntax is strict.
    """
    try:
        text = shown = raw.decode("utf-8")
    except UnicodeDecodeError:
        if options.strict_syntax or not any_charset:
            raise syntax_error("the argument is neither ASCII nor UTF-8") from None
        text, shown = raw.decode("utf-8", "surrogateescape"), raw.decode("ascii", "ignore")
    text = text.strip(" " if options.strict_syntax else " \t")
    if not shown.isprintable() and (options.strict_syntax or not shown.replace("\t", "").isprintable()):
        raise syntax_error("the argument has a character that is not printable")
    return text


def parse_host(argument: str, options: SMTPOptions) -> str:
    """HELO and EHLO: the name of the client. It may be invalid; trace fields escape it."""
    if not argument:
        raise syntax_error("a host name is required, such as host.example.org")
    if not options.strict_syntax:
        return argument.replace("\t", " ")
    if not _HOST.fullmatch(argument):
        raise syntax_error("not a host name or an address literal")
    try:
        return parse_domain(argument)
    except AddressError as error:
        raise syntax_error(f"not a host name or an address literal: {error}") from None


def parse_mail(argument: str, options: SMTPOptions) -> tuple[ReversePath, Parameters]:
    """MAIL: the reverse-path and the parameters."""
    text = _after_keyword("FROM:", "MAIL FROM:<address>", argument, options)
    rest = _after_null_path(text, options)
    if rest is not None:
        return None, _parse_parameters(rest)
    path, rest = _parse_path(text, options)
    parameters = _parse_parameters(rest)
    if not argument.isascii() and UTF8 not in parameters:
        raise Refused(SENDER_OUTSIDE_ASCII)
    return path, parameters


def parse_rcpt(argument: str, options: SMTPOptions) -> tuple[Address, Parameters, bool]:
    """RCPT: the forward-path, the parameters, and whether all of it is ASCII."""
    text = _after_keyword("TO:", "RCPT TO:<address>", argument, options)
    if _after_null_path(text, options) is not None:
        raise syntax_error("the null path <> is not a valid recipient")
    path, rest = _parse_path(text, options)
    return path, _parse_parameters(rest), argument.isascii()


def parse_nothing(argument: str, options: SMTPOptions) -> None:
    """RSET, DATA, QUIT: no argument."""
    if argument:
        raise syntax_error("this command has no argument")


def parse_string(argument: str, options: SMTPOptions) -> tuple[str, bool]:
    """VRFY, EXPN: one string, with or without angle brackets, and whether the reply may have UTF-8.

    vrfy = "VRFY" SP String [ SP "SMTPUTF8" ]      ; RFC 6531 section 3.7.4.2
    """
    name, _, last = argument.rpartition(" ")
    utf8 = bool(name) and last.upper() == UTF8
    name = name.rstrip(" ") if utf8 else argument
    if not name:
        raise syntax_error("a name or an address is required")
    return name[1:-1] if name.startswith("<") and name.endswith(">") else name, utf8


def parse_node(argument: str, options: SMTPOptions) -> str:
    """ETRN: a domain, without the option characters of RFC 1985 section 5.3."""
    if not argument:
        raise syntax_error("a domain is required: ETRN example.net")
    if argument[0] in "@#":
        raise syntax_error("the options @ and # are not supported; send ETRN for each domain")
    try:
        return parse_domain(argument)
    except AddressError as error:
        raise syntax_error(str(error)) from None


def parse_nodes(argument: str, options: SMTPOptions) -> tuple[str, ...]:
    """ATRN: domains separated by commas, none for all (RFC 2645 section 5.2.1).

    atrn = "ATRN" [ SP domain *( "," domain ) ]
    """
    try:
        return tuple(dict.fromkeys(map(parse_domain, argument.split(",")))) if argument else ()
    except AddressError as error:
        raise syntax_error(str(error)) from None


def parse_auth(argument: str, options: SMTPOptions) -> tuple[str, bytes | None]:
    """AUTH: the mechanism, and the initial response as it was sent, if there is one."""
    name, _, initial = argument.partition(" ")
    if not name or " " in initial:
        raise syntax_error("syntax: AUTH mechanism [initial response]")
    return name.upper(), initial.encode() if initial else None


def parse_anything(argument: str, options: SMTPOptions) -> str:
    """NOOP, HELP: any argument."""
    return argument


def _after_keyword(keyword: str, syntax: str, argument: str, options: SMTPOptions) -> str:
    if argument[: len(keyword)].upper() != keyword:
        raise syntax_error(f"syntax: {syntax}")
    text = argument[len(keyword) :]
    if not options.strict_syntax:
        text = text.lstrip(" \t")
    if not text:
        raise syntax_error(f"the address is missing; syntax: {syntax}")
    return text


def _after_null_path(text: str, options: SMTPOptions) -> str | None:
    """The text after a null path at the start of ``text``; None if there is no null path."""
    if not text.startswith(("<>", "< ", "<\t", "<(")):
        return None
    inner = _skip_cfws(text[1:], not options.strict_syntax)
    return _after_bracket(inner) if inner.startswith(">") else None


def _parse_path(text: str, options: SMTPOptions) -> tuple[Address, str]:
    """The path at the start of ``text``, and the text after it."""
    if (usual := _USUAL_PATH.match(text)) and usual.end(1) <= MAX_LOCAL_PART:
        try:
            return Address(usual[1], parse_domain(usual[2])), text[usual.end() :]
        except AddressError as error:
            raise _bad_address(str(error)) from None
    loose = not options.strict_syntax
    bracket = text.startswith("<")
    if not bracket and not loose:
        raise syntax_error("the address must be in angle brackets: <address>")
    cfws = bracket and loose
    after = (">",) if bracket else (" ", "\t")
    if bracket:
        text = _skip_cfws(text[1:], cfws)
        # A source route is ignored (RFC 5321 appendix C).
        if route := _ROUTE.match(text):
            text = _skip_cfws(text[route.end() :], cfws)
    try:
        local, rest = split_local_part(text, any_dots=loose)
        rest = _skip_cfws(rest, cfws)
        domain = ""
        if rest.startswith("@"):
            name, rest = _split_domain(rest[1:], cfws)
            domain = parse_domain(name[:-1] if loose and name.endswith(".") else name)
        elif rest and not rest.startswith(after):
            raise AddressError("the local part has an invalid character")
    except AddressError as error:
        raise _bad_address(str(error)) from None
    if bracket:
        rest = _after_bracket(rest)
    elif rest and not rest.startswith(after):
        raise _bad_address("the domain has an invalid character")
    if not domain:
        if options.strict_syntax and local.lower() != "postmaster":
            raise syntax_error("the address has no @domain")
        domain = options.domain
    return Address(local, domain), rest


def _split_domain(text: str, cfws: bool) -> tuple[str, str]:
    """The domain at the start of ``text``, and the rest. ``cfws``: white space and comments are allowed."""
    name, rest = "", _skip_cfws(text, cfws)
    while not name or name.endswith(".") or rest.startswith("."):
        match = _DOMAIN.match(rest)
        if match is None or not match[0]:
            break
        name, rest = name + match[0], _skip_cfws(rest[match.end() :], cfws)
    return name, rest


def _after_bracket(text: str) -> str:
    """The text after the closing angle bracket, which must come first."""
    if not text.startswith(">"):
        raise syntax_error("the closing angle bracket is missing")
    if len(text) > 1 and text[1] not in " \t":
        raise syntax_error("a space is required between the path and the parameters")
    return text[1:]


def _skip_cfws(text: str, wanted: bool) -> str:
    """``text`` without leading white space and comments; unchanged unless ``wanted``."""
    if not wanted or text[:1] not in _CFWS:
        return text
    at = depth = 0
    while at < len(text) and (depth or text[at] in _CFWS):
        depth += (text[at] == "(") - (text[at] == ")")
        at += 2 if text[at] == "\\" else 1
    if depth:
        raise _bad_address("the comment is not closed")
    return text[at:]


def _bad_address(text: str) -> Refused:
    return Refused(reply(501, "5.1.3", f"bad address syntax: {text}"))


def _parse_parameters(text: str) -> Parameters:
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise syntax_error("malformed parameter; syntax: KEYWORD or KEYWORD=value")
        keyword = match[1].upper()
        if keyword in found:
            raise syntax_error(f"duplicate parameter {keyword}")
        found[keyword] = match[2]
    return found
