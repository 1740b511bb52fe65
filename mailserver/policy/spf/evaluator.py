"""Evaluates SPF: the function check_host() of RFC 7208 section 4, without I/O.

:func:`evaluate` is a generator of DNS questions, as :mod:`mailserver.policy.questions` has them. Whatever
strangers write, it raises nothing, asks a bounded number of questions, and each of them once.

Where the RFC leaves a choice: a name that DNS cannot know is not asked for, and its mechanism does not match
(section 4.8). A term with the local part of the sender does not match if that is not ASCII (RFC 8616 section
4). A term counts as one void lookup at most, and only for questions that were not asked before.
"""

from ipaddress import IPv4Address, ip_address
from typing import Literal, NoReturn

import attrs

from mailserver.errors import AddressError, one_line
from mailserver.mail.address import parse_domain
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply
from mailserver.policy.spf.macros import (
    MacroString,
    expand,
    expand_name,
    is_name,
    letters,
    parse_macro_string,
)
from mailserver.policy.spf.record import (
    SPFAddress,
    SPFMechanism,
    SPFRecord,
    SPFTerm,
    parse_record,
    select_records,
)
from mailserver.policy.spf.values import SPFOutcome, SPFRequest, SPFResult, SPFSyntaxError

SPFKind = Literal["A", "AAAA", "MX", "PTR", "TXT"]

MAX_TERMS = 10  # that cause DNS queries
MAX_VOID_TERMS = 2
MAX_HOSTS = 10  # of a mechanism "mx", or names of the client
MAX_EXPLANATION = 480  # characters, which fit into one line of a reply (RFC 5321 section 4.5.3.1.5)
MAX_SHOWN = 200  # characters of a term in the result


def evaluate(request: SPFRequest) -> Evaluation[SPFResult]:
    """The result for a client and its message. Yields one question at a time."""
    domain = checked_domain(request)
    local = "" if request.reverse_path is None else request.reverse_path.local
    try:
        address = ip_address(request.ip.partition("%")[0])  # without a scope (RFC 4007 section 11)
    except ValueError:
        return SPFResult("none", domain, problem="the client has no IP address")
    evaluator = _SPFEvaluator(request, address, local or "postmaster", domain)
    return (yield from evaluator.result())


def checked_domain(request: SPFRequest) -> str:
    """The domain that the evaluation is for, with A-labels if that is possible (section 4.3)."""
    return _a_labels(request.helo if request.reverse_path is None else request.reverse_path.domain)


@attrs.frozen
class _Decision:
    """The outcome of a record, and the term that decided. ``domain`` and ``record`` are the place of both."""

    outcome: SPFOutcome
    term: str = ""
    problem: str = ""
    domain: str = ""
    record: SPFRecord | None = None


class _Undecided(Exception):
    """The evaluation ends with "temperror" or "permerror" (section 2.6.6, 2.6.7)."""

    def __init__(self, decision: _Decision) -> None:
        super().__init__(decision.problem)
        self.decision = decision


class _SPFEvaluator:
    """One evaluation: what it knows, and how much it has asked."""

    def __init__(self, request: SPFRequest, address: SPFAddress, local: str, domain: str) -> None:
        # A client with an IPv4-mapped address is an IPv4 client (section 5).
        address = getattr(address, "ipv4_mapped", None) or address
        self._address = address
        self._kind: Literal["A", "AAAA"] = "A" if address.version == 4 else "AAAA"
        self._local = local
        self._domain = domain
        self._values = {
            "s": f"{local}@{domain}",
            "l": local,
            "o": domain,
            "i": _dotted(address),
            "v": "in-addr" if address.version == 4 else "ip6",
            "h": _a_labels(request.helo),
            "c": str(address),
            "r": request.receiver,
            "t": str(request.time),
        }
        self._replies: dict[PolicyQuestion, PolicyReply] = {}
        self._terms = 0
        self._void_terms = 0
        self._last_void: SPFTerm | None = None
        self._personal = False

    def result(self) -> Evaluation[SPFResult]:
        try:
            decision = yield from self._check_host(self._domain, None)
        except _Undecided as undecided:
            decision = undecided.decision
        explanation = yield from self._explanation(decision)
        term = _shown(decision.term)
        return SPFResult(decision.outcome, self._domain, term, explanation, decision.problem, self._personal)

    def _check_host(self, domain: str, term: SPFTerm | None) -> Evaluation[_Decision]:
        """The decision of the record of ``domain``, to which ``term`` of another record leads.

        "include" and "redirect" come back here; the limit of terms bounds how often.
        """
        if not is_name(domain):
            return _Decision("none", problem=f"{_shown(domain)!r} is not the name of a domain")
        reply = yield from self._ask(_escaped(domain), "TXT", term)
        found = select_records(reply.records)
        if not found:
            return _Decision("none", problem=f"{domain} has no SPF record")
        if len(found) > 1:
            _permerror(f"{domain} has several SPF records", term)
        try:
            record = parse_record(found[0])
        except SPFSyntaxError as error:
            problem = f"the SPF record of {domain} is malformed: {error}"
            raise _Undecided(_Decision("permerror", error.term, problem)) from None
        for mechanism in record.mechanisms:
            if (yield from self._matches(mechanism, domain)):
                return _Decision(mechanism.outcome, mechanism.text, "", domain, record)
        if record.redirect is not None:
            return (yield from self._redirect(record.redirect, domain))
        return _Decision("neutral")

    def _redirect(self, term: SPFTerm, domain: str) -> Evaluation[_Decision]:
        """Section 6.1."""
        self._count(term)
        target = yield from self._target(term.target, domain, term)
        if target is None:
            return _Decision("neutral")
        decision = yield from self._check_host(target, term)
        if decision.outcome == "none":
            _permerror(decision.problem, term)
        return decision

    def _matches(self, mechanism: SPFMechanism, domain: str) -> Evaluation[bool]:
        """Section 5."""
        if mechanism.name == "all":
            return True
        if mechanism.network is not None:
            return self._is_near(mechanism.network, mechanism)
        self._count(mechanism)
        target = yield from self._target(mechanism.target, domain, mechanism)
        if target is None:
            return False
        if mechanism.name == "include":
            return (yield from self._includes(target, mechanism))
        if not is_name(target):
            return False
        name = _escaped(target)
        if mechanism.name == "a":
            return (yield from self._has_address(name, mechanism))
        if mechanism.name == "mx":
            return (yield from self._has_mail_host(name, mechanism))
        if mechanism.name == "ptr":
            return (yield from self._is_named(target, mechanism))
        return bool((yield from self._ask(name, "A", mechanism)).records)  # exists

    def _includes(self, target: str, mechanism: SPFMechanism) -> Evaluation[bool]:
        """Section 5.2."""
        decision = yield from self._check_host(target, mechanism)
        if decision.outcome == "none":
            _permerror(decision.problem, mechanism)
        return decision.outcome == "pass"

    def _has_address(self, name: str, mechanism: SPFMechanism) -> Evaluation[bool]:
        """Section 5.3."""
        reply = yield from self._ask(name, self._kind, mechanism)
        return any(self._is_near(ip_address(text), mechanism) for text in reply.records)

    def _has_mail_host(self, name: str, mechanism: SPFMechanism) -> Evaluation[bool]:
        """Section 5.4. Too many hosts are an error in any case, because DNS gives them in any order."""
        reply = yield from self._ask(name, "MX", mechanism)
        if len(reply.records) > MAX_HOSTS:
            _permerror(f"{name} has more than {MAX_HOSTS} MX records", mechanism)
        for host in filter(is_name, reply.records):
            if (yield from self._has_address(host, mechanism)):
                return True
        return False

    def _is_named(self, target: str, mechanism: SPFMechanism) -> Evaluation[bool]:
        """Section 5.5. Names that do not end with the target are not looked up."""
        for name in (yield from self._names(mechanism)):
            if _is_below(name, target) and (yield from self._is_validated(name)):
                return True
        return False

    def _names(self, term: SPFTerm | None) -> Evaluation[tuple[str, ...]]:
        """The names that the client has by its address, of which none is validated.

        One with a dot inside a label, "a\\.example.org", is not what it looks like.
        """
        name = ".".join([*reversed(self._values["i"].split(".")), self._values["v"], "arpa"])
        reply = yield from self._try(name, "PTR", term)
        return tuple(name for name in reply.records[:MAX_HOSTS] if is_name(name) and "\\" not in name)

    def _is_validated(self, name: str) -> Evaluation[bool]:
        """Whether a name of the client has its address. The domain is not to blame for the answer."""
        reply = yield from self._try(name, self._kind, None)
        return any(ip_address(text) == self._address for text in reply.records)

    def _target(self, text: MacroString, domain: str, term: SPFTerm | None) -> Evaluation[str | None]:
        """The domain that a term is about; None if the term matches nothing (RFC 8616 section 4)."""
        if not text:
            return domain
        if letters(text) & {"s", "l"}:
            self._personal = True
            if not self._local.isascii():
                return None
        values = yield from self._values_for(text, domain, term)
        return expand_name(text, values)

    def _values_for(self, text: MacroString, domain: str, term: SPFTerm | None) -> Evaluation[dict[str, str]]:
        """The values of the macro letters in ``text`` (section 7.2)."""
        values = {**self._values, "d": domain, "p": "unknown"}
        used = letters(text)
        if used & {"s", "l", "t"}:
            self._personal = True
        if "p" in used:
            names = yield from self._names(term)
            # The domain itself, its subdomains, others.
            for name in sorted(
                names, key=lambda name: (not _is_below(name, domain), name.lower() != domain.lower())
            ):
                if (yield from self._is_validated(name)):
                    values["p"] = name
                    break
        return values

    def _explanation(self, decision: _Decision) -> Evaluation[str]:
        """The explanation of a failure (section 6.2), "" if there is none that can be used. No limit counts
        its questions, and nothing about it changes the result."""
        if decision.outcome != "fail" or decision.record is None or decision.record.explanation is None:
            return ""
        target = yield from self._target(decision.record.explanation.target, decision.domain, None)
        if target is None or not is_name(target):
            return ""
        reply = yield from self._try(_escaped(target), "TXT", None)
        if len(reply.records) != 1 or len(reply.records[0]) > MAX_EXPLANATION:
            return ""
        try:
            pieces = parse_macro_string(reply.records[0].decode("ascii"), explaining=True)
        except (UnicodeDecodeError, SPFSyntaxError):
            return ""
        values = yield from self._values_for(pieces, decision.domain, None)
        text = expand(pieces, values)
        return text if len(text) <= MAX_EXPLANATION and text.isascii() and text.isprintable() else ""

    def _is_near(self, address: SPFAddress, mechanism: SPFMechanism) -> bool:
        """Whether an address has the kind of the client's address, and the same first bits."""
        if address.version != self._address.version:
            return False
        length = mechanism.lengths[0 if address.version == 4 else 1]
        return (int(address) ^ int(self._address)) >> (address.max_prefixlen - length) == 0

    def _count(self, term: SPFTerm) -> None:
        """Section 4.6.4."""
        self._terms += 1
        if self._terms > MAX_TERMS:
            _permerror(f"more than {MAX_TERMS} terms need DNS", term)

    def _ask(self, name: str, kind: SPFKind, term: SPFTerm | None) -> Evaluation[PolicyReply]:
        """The reply to a question. A failure of DNS ends the evaluation."""
        reply = yield from self._try(name, kind, term)
        if reply.failed:
            problem = reply.reason or f"DNS lookup of {name} ({kind}) failed"
            raise _Undecided(_Decision("temperror", "" if term is None else term.text, problem))
        return reply

    def _try(self, name: str, kind: SPFKind, term: SPFTerm | None) -> Evaluation[PolicyReply]:
        """The reply to a question. A void one counts for ``term``."""
        question = PolicyQuestion(name.lower(), kind)
        reply = self._replies.get(question)
        if reply is None:
            replies = yield (question,)
            reply = self._replies[question] = replies[question]
            is_void = not reply.records and not reply.failed
            if is_void and term is not None and term is not self._last_void:
                self._last_void = term
                self._void_terms += 1
                if self._void_terms > MAX_VOID_TERMS:
                    _permerror(f"more than {MAX_VOID_TERMS} terms name what DNS does not know", term)
        return reply


def _permerror(problem: str, term: SPFTerm | None) -> NoReturn:
    raise _Undecided(_Decision("permerror", "" if term is None else term.text, problem))


def _dotted(address: SPFAddress) -> str:
    """The macro "i": an IPv4 address as usual, the hexadecimal digits of an IPv6 address with dots."""
    return str(address) if isinstance(address, IPv4Address) else ".".join(address.packed.hex().upper())


def _a_labels(domain: str) -> str:
    """The domain without its final dot, with A-labels if that is possible."""
    domain = domain.removesuffix(".")
    if domain.isascii():
        return domain
    try:
        return parse_domain(domain)
    except AddressError:
        return domain


def _escaped(name: str) -> str:
    """The text of a name in a master file; here a backslash is a character like any other."""
    return name.replace("\\", "\\\\")


def _is_below(name: str, domain: str) -> bool:
    """Whether a name is a domain or one of its subdomains."""
    return f".{name}".lower().endswith(f".{domain}".lower())


def _shown(text: str) -> str:
    return one_line(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
