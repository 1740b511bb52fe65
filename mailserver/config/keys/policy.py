"""The sections [policy] and [[dnsbl]]: checks of mail from strangers."""

from typing import Literal, get_args

import attrs

from mailserver.config.schema.dns_kinds import CODES, DNS_NAME, CodeRange
from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.mail_kinds import MILTER, NETWORK, Network
from mailserver.config.schema.scalars import Boolean, Choice, Duration, Integer, SignedInteger
from mailserver.config.schema.tables import key

Spf = Literal["off", "mark", "refuse"]
Dkim = Literal["off", "mark"]
Dmarc = Literal["off", "mark", "enforce"]
OnError = Literal["accept", "defer"]
Greylist = Literal["off", "suspicious", "all"]
FirstContactMode = Literal["off", "tag", "delay"]
MilterDefault = Literal["accept", "defer", "reject"]
DnsblAction = Literal["accept", "mark", "defer", "refuse"]


@attrs.frozen(kw_only=True)
class PolicySection:
    """The checks. An ``exempt`` that is None is relay.networks, with the loopback addresses."""

    exempt: tuple[Network, ...] | None = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of clients that are not checked. Clients that have logged in are never checked, nor are "
        "clients of unix sockets and of LMTP.",
        note="the value of relay.networks, and loopback addresses",
        example=["127.0.0.0/8", "::1"],
        compute=lambda policy: None,
    )
    spf: Spf = key(
        Choice[Spf](get_args(Spf)),
        "Check of the client against the SPF record of the sender's domain (RFC 7208): none (off), its "
        "result in Authentication-Results (mark), or also rejection if the result is fail (refuse). "
        "Rejection also hits mail that other servers forward to here. It spares postmaster and abuse.",
        default="mark",
    )
    dkim: Dkim = key(
        Choice[Dkim](get_args(Dkim)),
        "Check of DKIM signatures (RFC 6376): none (off), or its results in Authentication-Results (mark).",
        default="mark",
    )
    dmarc: Dmarc = key(
        Choice[Dmarc](get_args(Dmarc)),
        "Check of the domain in From against its DMARC record (RFC 9989): none (off), its result in "
        "Authentication-Results (mark), or also rejection or quarantine if the record asks for it (enforce). "
        "It needs the results of SPF and DKIM, which are then found even if these are off. With enforce, a "
        "message without exactly one domain in From is rejected, too.",
        default="mark",
    )
    dmarc_reports: bool = key(
        Boolean(),
        "Daily reports about the results of DMARC (RFC 9990) to the domains that ask for them. The contact "
        "is postmaster of the first of domains. Receivers may ignore reports without a DKIM signature, so a "
        "section [[dkim]] should name that domain. It has no effect if dmarc is off.",
        default=False,
    )
    score_threshold: int = key(
        Integer(0),
        "Score of a client from which on its mail is rejected: the sum of dnsbl.weight over the lists that "
        "have the client, and of the two weights below.",
        default=0,
        note="no client is rejected for its score",
        example=5,
    )
    reverse_dns_weight: int = key(
        SignedInteger(),
        "Points of a client without reverse DNS, or whose name in reverse DNS does not lead back to its "
        "address.",
        default=0,
        example=2,
    )
    helo_weight: int = key(
        SignedInteger(),
        "Points of a client that gives a wrong name in HELO or EHLO: one that DNS does not know, an address "
        "that is not its own, or the name of this server.",
        default=0,
        example=2,
    )
    trusted_forwarders: tuple[str, ...] = key(
        ListOf(DNS_NAME, may_be_empty=True),
        "Domains of mailing lists and forwarders whose ARC seals are trusted (RFC 8617). A message that "
        "passed DMARC at the last of them is not rejected for failing it here.",
        default=[],
        example=["lists.example.net"],
    )
    deadline: float = key(
        Duration("1s", "5m"),
        'Time that a message waits for DNS at most, at its end; with spf = "refuse" also at its first '
        "recipient. Checks without an answer by then have the result temperror, and reject nothing.",
        default="30s",
    )
    on_error: OnError = key(
        Choice[OnError](get_args(OnError)),
        "Treatment of a message if a check fails because of a mistake in this server: it comes in with the "
        "other results (accept), or is deferred (defer). The log has the details in any case.",
        default="accept",
    )
    greylist: Greylist = key(
        Choice[Greylist](get_args(Greylist)),
        "Unknown senders whose first attempt is deferred (RFC 6647): none (off), those whose client is "
        "listed, has wrong names or fails SPF (suspicious), or all (all). A DKIM signature of a domain that "
        "has signed good mail before spares the message. Mail with the null reverse-path, and mail to "
        "postmaster and abuse, is never deferred.",
        default="off",
    )
    greylist_delay: float = key(
        Duration("1s", "1d"),
        "Time after which another attempt of a greylisted sender is accepted.",
        default="5m",
    )
    first_contact: FirstContactMode = key(
        Choice[FirstContactMode](get_args(FirstContactMode)),
        "Mail from a sender whom nobody here has ever written to or heard from: as other mail (off), with "
        "the field X-First-Contact in its header (tag), or also deferred at first (delay). Mail with the "
        "null reverse-path, and mail to postmaster and abuse, is never deferred.",
        default="off",
    )
    first_contact_delay: float = key(
        Duration("1s", "1d"),
        "Time after the first attempt of an unknown sender until its mail is accepted, if first_contact is "
        '"delay".',
        default="15m",
    )
    milter: tuple[str, ...] = key(
        ListOf(MILTER, may_be_empty=True),
        "Mail filters that are asked about each message, in this order, by the milter protocol, also after a "
        "login. They get no mail from the networks of policy.exempt, unix sockets, LMTP and local programs.",
        default=[],
        example=["unix:/run/rspamd/milter.sock"],
    )
    milter_timeout: float = key(
        Duration("1s", maximum="5m"),
        "Time limit for each step of a mail filter: the connection, and each reply.",
        default="1m",
    )
    milter_default: MilterDefault = key(
        Choice[MilterDefault](get_args(MilterDefault)),
        "Treatment of a message if a mail filter cannot be asked or does not follow its protocol: as if the "
        "filter had accepted it (accept), a deferral (defer) or a rejection (reject).",
        default="defer",
    )


@attrs.frozen(kw_only=True)
class DnsblSection:
    """A list of client addresses in DNS."""

    zone: str = key(DNS_NAME, "DNS zone of the list (RFC 5782).", example="zen.example")
    action: DnsblAction = key(
        Choice[DnsblAction](get_args(DnsblAction)),
        "Treatment of mail from a listed client: a field X-DNSBL in its header (mark), a deferral (defer) or "
        "a rejection (refuse). For a list of good clients (DNSWL): no other list and no score rejects or "
        "defers the mail (accept).",
        default="refuse",
    )
    weight: int = key(
        SignedInteger(),
        "Points that a listed client gets, beside the action; see policy.score_threshold. Negative for a "
        "list of good clients.",
        default=0,
    )
    codes: tuple[CodeRange, ...] = key(
        ListOf(CODES),
        "Answers that mean that the client is listed. Any other answer means that it is not. An answer "
        "outside 127.0.0.0/8 or in 127.255.255.0/24 means that the list has refused the query: it is logged, "
        "and no mail is rejected for it.",
        default=["127.0.0.2-127.0.0.11"],
    )
