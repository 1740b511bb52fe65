"""SPF records: which TXT records are one, and their grammar (RFC 7208 sections 4.5, 4.6.1, 5, 6 and 12).

    record           = version terms *SP
    version          = "v=spf1"
    terms            = *( 1*SP ( directive / modifier ) )
    directive        = [ qualifier ] mechanism
    qualifier        = "+" / "-" / "?" / "~"
    mechanism        = ( all / include / a / mx / ptr / ip4 / ip6 / exists )
    all              = "all"
    include          = "include"  ":" domain-spec
    a                = "a"      [ ":" domain-spec ] [ dual-cidr-length ]
    mx               = "mx"     [ ":" domain-spec ] [ dual-cidr-length ]
    ptr              = "ptr"    [ ":" domain-spec ]
    ip4              = "ip4"      ":" ip4-network   [ ip4-cidr-length ]
    ip6              = "ip6"      ":" ip6-network   [ ip6-cidr-length ]
    exists           = "exists"   ":" domain-spec
    modifier         = redirect / explanation / unknown-modifier
    redirect         = "redirect" "=" domain-spec
    explanation      = "exp" "=" domain-spec
    unknown-modifier = name "=" macro-string
    name             = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )
    dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]
    ip4-cidr-length  = "/" ("0" / %x31-39 0*1DIGIT) ; value range 0-32
    ip6-cidr-length  = "/" ("0" / %x31-39 0*2DIGIT) ; value range 0-128

The whole record is read before anything of it is evaluated (section 4.6): an error anywhere is an error of
the record.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import attrs

from mailserver.policy.spf.macros import MacroString, parse_domain_spec, parse_macro_string
from mailserver.policy.spf.values import SPFOutcome, SPFSyntaxError

MAX_RECORD = 8192  # octets; section 3.4 recommends 450, and reading a longer one takes too long

SPFAddress = IPv4Address | IPv6Address

_QUALIFIERS: dict[str, SPFOutcome] = {"": "pass", "+": "pass", "-": "fail", "?": "neutral", "~": "softfail"}
_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_NAME = "[A-Za-z][A-Za-z0-9_.-]*"
_MODIFIER = re.compile(f"({_NAME})=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(f"([-+?~]?)({_NAME})(.*)", re.DOTALL)
_LENGTH = "(0|[1-9][0-9]{0,2})"
_DUAL_LENGTH = re.compile(f"(?:/{_LENGTH})?(?://{_LENGTH})?\\Z")


@attrs.frozen
class SPFTerm:
    """A term that names a domain: ``target``, () for the current domain. ``text`` is as in the record."""

    text: str
    target: MacroString = ()


@attrs.frozen
class SPFMechanism(SPFTerm):
    """A mechanism with the result if it matches.

    ``network`` is the address of ip4 and ip6. ``lengths`` are the octets of an IPv4 and an IPv6 address, in
    bits from the left, that must be equal.
    """

    name: str = "all"
    outcome: SPFOutcome = "pass"
    network: SPFAddress | None = None
    lengths: tuple[int, int] = (32, 128)


@attrs.frozen
class SPFRecord:
    """A record: its mechanisms in their order, and its modifiers if it has them."""

    mechanisms: tuple[SPFMechanism, ...]
    redirect: SPFTerm | None = None
    explanation: SPFTerm | None = None


def select_records(records: Iterable[bytes]) -> list[bytes]:
    """Those of the TXT records that are SPF records, of version 1 (section 4.5)."""
    return [record for record in records if _VERSION.match(record)]


def parse_record(octets: bytes) -> SPFRecord:
    """Read a record that :func:`select_records` has selected. Raises :class:`SPFSyntaxError`."""
    if len(octets) > MAX_RECORD:
        raise SPFSyntaxError(f"the record is longer than {MAX_RECORD} octets")
    if not octets.isascii():
        raise SPFSyntaxError("the record has characters outside ASCII")
    mechanisms: list[SPFMechanism] = []
    modifiers: dict[str, SPFTerm] = {}
    for term in octets.decode("ascii").split(" ")[1:]:
        try:
            if not term:
                continue
            if modifier := _MODIFIER.fullmatch(term):
                _read_modifier(term, modifier[1].lower(), modifier[2], modifiers)
            else:
                mechanisms.append(_read_directive(term))
        except SPFSyntaxError as error:
            raise SPFSyntaxError(str(error), term) from None
    return SPFRecord(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _read_modifier(term: str, name: str, value: str, known: dict[str, SPFTerm]) -> None:
    """Read a modifier into ``known``. Unknown ones only have to be well-formed (section 6)."""
    if name not in ("redirect", "exp"):
        parse_macro_string(value)
    elif name in known:
        raise SPFSyntaxError(f"the record has {name}= twice")
    else:
        known[name] = SPFTerm(term, parse_domain_spec(value))


def _read_directive(term: str) -> SPFMechanism:
    match = _DIRECTIVE.fullmatch(term)
    if match is None:
        raise SPFSyntaxError("it is neither a mechanism nor a modifier")
    qualifier, name, argument = match.groups()
    mechanism = SPFMechanism(term, (), name.lower(), _QUALIFIERS[qualifier])
    read = _MECHANISMS.get(mechanism.name)
    if read is None:
        raise SPFSyntaxError(f"the mechanism {name[:20]!r} is unknown")
    return read(mechanism, argument)


def _read_all(mechanism: SPFMechanism, argument: str) -> SPFMechanism:
    if argument:
        raise SPFSyntaxError('"all" has no argument')
    return mechanism


def _read_target(mechanism: SPFMechanism, argument: str, *, is_required: bool) -> SPFMechanism:
    """The mechanism with its domain. Without one it is about the current domain."""
    if not argument and not is_required:
        return mechanism
    if not argument.startswith(":"):
        raise SPFSyntaxError(f'":" must follow "{mechanism.name}"')
    return attrs.evolve(mechanism, target=parse_domain_spec(argument[1:]))


def _read_target_and_lengths(mechanism: SPFMechanism, argument: str) -> SPFMechanism:
    match = _DUAL_LENGTH.search(argument)
    assert match is not None  # it matches the empty text at the end
    lengths = _prefix_length(match[1], 32), _prefix_length(match[2], 128)
    mechanism = attrs.evolve(mechanism, lengths=lengths)
    return _read_target(mechanism, argument[: match.start()], is_required=False)


def _read_network(mechanism: SPFMechanism, argument: str) -> SPFMechanism:
    kind, bits = (IPv4Address, 32) if mechanism.name == "ip4" else (IPv6Address, 128)
    address, slash, length = argument[1:].partition("/")
    try:
        if not argument.startswith(":") or "%" in address:  # "%" begins a scope (RFC 4007 section 11)
            raise ValueError
        network = kind(address)
    except ValueError:
        raise SPFSyntaxError(f'"{mechanism.name}" has no valid IP address') from None
    if slash and not re.fullmatch(_LENGTH, length):
        raise SPFSyntaxError("the prefix length is malformed")
    common = _prefix_length(length, bits)
    return attrs.evolve(mechanism, network=network, lengths=(common, common))


def _prefix_length(digits: str | None, maximum: int) -> int:
    length = int(digits or maximum)
    if length > maximum:
        raise SPFSyntaxError(f"the prefix length {length} is greater than {maximum}")
    return length


_MECHANISMS: Mapping[str, Callable[[SPFMechanism, str], SPFMechanism]] = {
    "all": _read_all,
    "include": partial(_read_target, is_required=True),
    "a": _read_target_and_lengths,
    "mx": _read_target_and_lengths,
    "ptr": partial(_read_target, is_required=False),
    "ip4": _read_network,
    "ip6": _read_network,
    "exists": partial(_read_target, is_required=True),
}
