"""What follows from the results of SPF, DKIM, DMARC and ARC for a message."""

from typing import Literal

import attrs

from mailserver.errors import one_line
from mailserver.mail.verdict import (
    AUTHENTICATION_FAILED,
    DIRECTORY_FAILED,
    MAIL_SYSTEM,
    NOT_AUTHORIZED,
    SPF_FAILED,
    Accept,
    Aside,
    Defer,
    Refuse,
)
from mailserver.policy.dkim.results import DKIMResult
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.spf.values import SPFResult
from mailserver.reception.checks import ACCEPTED

SpfMode = Literal["off", "mark", "refuse"]
DkimMode = Literal["off", "mark"]
DmarcMode = Literal["off", "mark", "enforce"]
ErrorMode = Literal["accept", "defer"]

UNCHECKED = Defer(MAIL_SYSTEM, "the message cannot be checked now; please try again later", "policy.on_error")
NO_AUTHOR = Refuse(
    NOT_AUTHORIZED, "the message must have one From field, with addresses of one domain", "policy.dmarc"
)


@attrs.frozen(kw_only=True)
class SenderRules:
    """The keys of the section [policy] for the checks of senders.

    DMARC uses the results of SPF and DKIM also if these are ``off``, which only hides them. ``deadline`` is
    the time in seconds that a message waits for DNS at most. ``trusted_forwarders`` are domains of ARC seals.
    """

    spf: SpfMode = "mark"
    dkim: DkimMode = "mark"
    dmarc: DmarcMode = "mark"
    on_error: ErrorMode = "accept"
    deadline: float = 30.0
    trusted_forwarders: frozenset[str] = frozenset()

    @property
    def are_off(self) -> bool:
        """Whether nothing is checked."""
        return self.spf == self.dkim == self.dmarc == "off"


@attrs.frozen(kw_only=True)
class CheckedSender:
    """The results for a message. A check that was not made is None.

    ``undecided``: DMARC fails, but SPF, DKIM or ARC could not be checked now, and might change that.
    ``forwarder`` is the trusted forwarder that has seen the message pass DMARC, or "".
    """

    spf: SPFResult | None = None
    dkim: tuple[DKIMResult, ...] | None = None
    dmarc: DMARCResult | None = None
    undecided: bool = False
    forwarder: str = ""

    @property
    def shown_dmarc(self) -> DMARCResult | None:
        """The result of DMARC for the header: while it is undecided, it is no failure."""
        if self.dmarc is None or not self.undecided:
            return self.dmarc
        problem = "what could prove the domain is not known now"
        return attrs.evolve(self.dmarc, result="temperror", record=None, problem=problem)


def spf_verdict(spf: SPFResult, ip: str) -> Accept | Refuse:
    """The verdict with ``spf = "refuse"`` (RFC 7208 section 8.4)."""
    if spf.result != "fail":
        return ACCEPTED
    text = f"SPF check failed: {spf.domain} does not permit {ip} to send its mail"
    if spf.explanation:
        text += f"\nThe domain {spf.domain} explains:\n{spf.explanation}"
    return Refuse(SPF_FAILED, text, "policy.spf")


def dmarc_verdict(found: CheckedSender, mode: DmarcMode) -> Accept | Defer | Refuse:
    """The verdict on a message."""
    dmarc = found.dmarc
    if mode != "enforce" or dmarc is None:
        return ACCEPTED
    if dmarc.result == "permerror" and not dmarc.domain:
        return NO_AUTHOR
    if dmarc.policy == "none" or found.forwarder:
        return ACCEPTED
    text = f"DMARC check failed: neither SPF nor DKIM shows that the message is from {dmarc.domain}"
    if dmarc.policy == "quarantine":
        return ACCEPTED if found.undecided else Accept("Ok", aside=Aside(text, "policy.dmarc"))
    if found.undecided:
        later = f"DNS did not answer about the sender ({dmarc.domain}); please try again later"
        return Defer(DIRECTORY_FAILED, later, "policy.dmarc")
    return Refuse(AUTHENTICATION_FAILED, f"{text}, whose policy is to reject it", "policy.dmarc")


def spf_words(spf: SPFResult | None) -> str:
    """The result for the log: "fail example.com (-all)"."""
    if spf is None:
        return ""
    why = spf.problem or spf.mechanism
    return one_line(" ".join(filter(None, [spf.result, spf.domain, why and f"({why})"])))


def dkim_words(dkim: tuple[DKIMResult, ...] | None) -> str:
    """The results for the log: "pass example.com, fail a.example (body hash does not match)"."""
    if dkim is None:
        return ""
    words = (
        " ".join(filter(None, [one.result, one.domain, one.reason and f"({one.reason})"])) for one in dkim
    )
    return one_line(", ".join(words)) or "none"


def dmarc_words(found: CheckedSender) -> str:
    """The result for the log: "fail example.com, policy reject"."""
    dmarc = found.dmarc
    if dmarc is None:
        return ""
    words = " ".join(filter(None, [dmarc.result, dmarc.domain, dmarc.problem and f"({dmarc.problem})"]))
    if dmarc.result == "fail":
        words += f", policy {dmarc.policy}"
    if found.forwarder:
        words += f", but it passed at {found.forwarder}"
    elif found.undecided:
        words += ", but DNS did not answer"
    return one_line(words)
