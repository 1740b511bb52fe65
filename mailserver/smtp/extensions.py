"""Service extensions: the list of EHLO, and the parameters that they add to MAIL and RCPT.

The table has one entry for each extension, in the order of the list (RFC 5321 section 2.2). A parameter that
no extension defines gets a 555 (RFC 5321 section 4.1.1.11).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import attrs

from mailserver.mail.envelope import Parameters
from mailserver.mail.handling import (
    LATEST_RELEASE,
    LONGEST_HOLD,
    read_date,
    read_deadline,
    read_hold,
    read_priority,
)
from mailserver.mail.xtext import is_original_recipient, is_xtext
from mailserver.session.verbs import Refused
from mailserver.smtp.naming import XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES
from mailserver.smtp.options import NO_OFFER, Offer, SMTPOptions
from mailserver.smtp.replies import Reply, reply, solicitation, syntax_error, too_big
from mailserver.smtp.syntax import UTF8

_SIZE = re.compile(r"[0-9]{1,20}")
_MAX_LIMIT = 999_999  # six digits at most (RFC 9422 section 4)
# word *( "," word ), word = ALPHA *( "." / "-" / "_" / ":" / ALPHA / DIGIT )      ; RFC 3865 section 2.3
_CLASSES = re.compile(r"[A-Za-z][A-Za-z0-9._:-]*(?:,[A-Za-z][A-Za-z0-9._:-]*)*")

ParameterCheck = Callable[[str | None, SMTPOptions], None]


def _check_size(value: str | None, options: SMTPOptions) -> None:
    # size-value = 1*20DIGIT (RFC 1870 section 4)
    if value is None or not _SIZE.fullmatch(value):
        raise syntax_error("SIZE must be a number of octets with at most 20 digits")
    if int(value) > options.max_message_size:
        raise Refused(too_big(options.max_message_size))


def _check_body(value: str | None, options: SMTPOptions) -> None:
    # body-value = "7BIT" / "8BITMIME" (RFC 6152 section 2) / "BINARYMIME" (RFC 3030 section 3)
    if value is None or value.upper() not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise syntax_error("BODY must be 7BIT, 8BITMIME or BINARYMIME")


def _check_auth(value: str | None, options: SMTPOptions) -> None:
    # The submitter of the message, in xtext, or "<>" (RFC 4954 section 5). Its value is ignored, as the RFC
    # allows: this server trusts no other server.
    if value is None or not is_xtext(value):
        raise syntax_error("AUTH must be an address in xtext, or <>")


def _check_ret(value: str | None, options: SMTPOptions) -> None:
    # ret-value = "FULL" / "HDRS" (RFC 3461 section 4.3)
    if value is None or value.upper() not in ("FULL", "HDRS"):
        raise syntax_error("RET must be FULL or HDRS")


def _check_envid(value: str | None, options: SMTPOptions) -> None:
    # xtext of at most 100 octets (RFC 3461 section 4.4)
    if value is None or len(value) > 100 or not is_xtext(value):
        raise syntax_error("ENVID must be xtext of at most 100 octets")


def _check_notify(value: str | None, options: SMTPOptions) -> None:
    # "NEVER" / 1#( "SUCCESS" / "FAILURE" / "DELAY" ) (RFC 3461 section 4.1)
    asked = (value or "").upper().split(",")
    if asked != ["NEVER"] and not {"SUCCESS", "FAILURE", "DELAY"}.issuperset(asked):
        raise syntax_error("NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY")


def _check_orcpt(value: str | None, options: SMTPOptions) -> None:
    # addr-type ";" xtext, at most 500 octets (RFC 3461 section 4.2); "utf-8;" as RFC 6533 section 3 says
    if value is None or len(value.encode()) > 500 or not is_original_recipient(value):
        raise syntax_error("ORCPT must be an address type, a semicolon and the address in its encoding")


def _check_solicit(value: str | None, options: SMTPOptions) -> None:
    # Solicitation-keywords, at most 1000 characters (RFC 3865 section 2.3)
    if value is None or len(value) > 1000 or not _CLASSES.fullmatch(value):
        raise syntax_error("SOLICIT must be a list of classes such as org.example:ADV")
    unwanted = {one.lower() for one in options.no_soliciting}
    if found := [one for one in value.split(",") if one.lower() in unwanted]:
        raise Refused(solicitation(",".join(found)))


def _limits(options: SMTPOptions) -> str:
    limits = {
        "RCPTMAX": options.max_recipients,
        "MAILMAX": options.max_messages,
        "RCPTDOMAINMAX": options.max_recipient_domains,
    }
    return " ".join([f"{name}={min(limit, _MAX_LIMIT)}" for name, limit in limits.items() if limit])


def _check_value(read: Callable[[str | None], object]) -> ParameterCheck:
    """A check of a value that ``read`` understands, or raises ``ValueError``."""

    def check(value: str | None, options: SMTPOptions) -> None:
        try:
            read(value)
        except ValueError as error:
            raise syntax_error(str(error)) from None

    return check


def _check_no_value(keyword: str) -> ParameterCheck:
    """A check that the parameter has no value (RFC 8689 section 2, RFC 6531 section 3.4)."""

    def check(value: str | None, options: SMTPOptions) -> None:
        if value is not None:
            raise syntax_error(f"{keyword} has no value")

    return check


@attrs.frozen
class Extension:
    """One service extension.

    ``offered``: whether EHLO lists it now. ``mail`` and ``rcpt`` have the parameters that it adds to those
    commands, each with the function that checks its value. They may be used while it is offered; those of an
    ``always`` extension at any time. ``mail_octets`` and ``rcpt_octets`` are added to the maximum length of
    those commands.
    """

    keyword: str
    about: str
    value: Callable[[SMTPOptions, Offer], str] = lambda options, offer: ""
    offered: Callable[[Offer], bool] = lambda offer: True
    always: bool = False
    mail: Mapping[str, ParameterCheck] = attrs.field(factory=dict)
    rcpt: Mapping[str, ParameterCheck] = attrs.field(factory=dict)
    mail_octets: int = 0
    rcpt_octets: int = 0

    def line(self, options: SMTPOptions, offer: Offer) -> str:
        """The line of the EHLO reply."""
        return f"{self.keyword} {self.value(options, offer)}".rstrip()


EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING", "commands may be sent without waiting for each reply (RFC 2920)"),
    Extension(
        "SIZE",
        "MAIL FROM:<address> SIZE=octets: declares the size of the message (RFC 1870)",
        value=lambda options, offer: str(options.max_message_size),
        mail={"SIZE": _check_size},
        mail_octets=26,
    ),
    Extension(
        "8BITMIME",
        "MAIL FROM:<address> BODY=7BIT or BODY=8BITMIME: text with 8-bit octets (RFC 6152)",
        mail={"BODY": _check_body},
        mail_octets=17,
    ),
    Extension("CHUNKING", "BDAT octets [LAST]: sends a message in chunks (RFC 3030)"),
    Extension(
        "BINARYMIME",
        "MAIL FROM:<address> BODY=BINARYMIME: a body with octets of any kind, sent by BDAT (RFC 3030)",
    ),
    Extension(
        "SMTPUTF8",
        "MAIL FROM:<address> SMTPUTF8: addresses and header fields with UTF-8; VRFY name SMTPUTF8, EXPN name "
        "SMTPUTF8: a reply with UTF-8 (RFC 6531)",
        mail={UTF8: _check_no_value(UTF8)},
        mail_octets=10,
    ),
    Extension("ENHANCEDSTATUSCODES", "replies carry the status codes of RFC 3463 (RFC 2034)"),
    Extension(
        "STARTTLS",
        "STARTTLS: begins TLS; send EHLO again after it (RFC 3207)",
        offered=lambda offer: offer.starttls,
    ),
    Extension(
        "AUTH",
        "AUTH mechanism [initial response]: logs in (RFC 4954)",
        value=lambda options, offer: " ".join(offer.mechanisms),
        offered=lambda offer: bool(offer.mechanisms),
        always=True,
        mail={"AUTH": _check_auth},
        mail_octets=500,
    ),
    Extension(
        "DSN",
        "MAIL FROM:<address> RET=FULL or HDRS, ENVID=id; RCPT TO:<address> NOTIFY=NEVER or a list of "
        "SUCCESS, FAILURE and DELAY, ORCPT=type;address: requests for reports about the delivery (RFC 3461)",
        mail={"RET": _check_ret, "ENVID": _check_envid},
        rcpt={"NOTIFY": _check_notify, "ORCPT": _check_orcpt},
        mail_octets=116,
        rcpt_octets=535,
    ),
    Extension(
        "MT-PRIORITY",
        "MAIL FROM:<address> MT-PRIORITY=-9 to 9: the priority of the message (RFC 6710)",
        # RFC 6710: strangers must not have priority.
        offered=lambda offer: offer.submission,
        mail={"MT-PRIORITY": _check_value(read_priority)},
        mail_octets=15,
    ),
    Extension(
        "DELIVERBY",
        "MAIL FROM:<address> BY=seconds;R or BY=seconds;N: after that time the message is returned, or the "
        "sender gets a report; T after it asks for a report from each server on the way (RFC 2852)",
        mail={"BY": _check_value(lambda value: read_deadline(value, 0.0))},
        mail_octets=17,
    ),
    Extension(
        "FUTURERELEASE",
        "MAIL FROM:<address> HOLDFOR=seconds or HOLDUNTIL=date: the message is held for that long (RFC 4865)",
        value=lambda options, offer: f"{LONGEST_HOLD} {LATEST_RELEASE}",
        offered=lambda offer: offer.submission,
        mail={"HOLDFOR": _check_value(read_hold), "HOLDUNTIL": _check_value(read_date)},
        mail_octets=34,
    ),
    Extension(
        "REQUIRETLS",
        "MAIL FROM:<address> REQUIRETLS: the message is sent over verified TLS only (RFC 8689)",
        offered=lambda offer: offer.secure,
        mail={"REQUIRETLS": _check_no_value("REQUIRETLS")},
        mail_octets=11,
    ),
    Extension(
        "LIMITS",
        "RCPTMAX: recipients of a message; MAILMAX: messages in a session; RCPTDOMAINMAX: domains of "
        "recipients in a session (RFC 9422)",
        value=lambda options, offer: _limits(options),
    ),
    Extension(
        "NO-SOLICITING",
        "MAIL FROM:<address> SOLICIT=class,class: the message is a solicitation of these classes (RFC 3865)",
        value=lambda options, offer: ",".join(options.no_soliciting),
        offered=lambda offer: offer.no_soliciting,
        mail={"SOLICIT": _check_solicit},
        mail_octets=1007,
    ),
    Extension(
        "EXPN",
        "EXPN name: the members of a mailing list (RFC 5321)",
        offered=lambda offer: offer.lookups,
    ),
    Extension(
        "ETRN",
        "ETRN domain: starts the delivery of the messages that wait for a domain (RFC 1985)",
        offered=lambda offer: offer.queue_starts,
    ),
    Extension(
        "ATRN",
        "ATRN domain,domain: reverses the connection, to fetch the mail that waits for domains (RFC 2645)",
        offered=lambda offer: offer.fetches,
    ),
    Extension(
        "XCLIENT",
        "XCLIENT attribute=value: the session begins again, for another client (Postfix)",
        value=lambda options, offer: XCLIENT_ATTRIBUTES,
        offered=lambda offer: offer.xclient,
    ),
    Extension(
        "XFORWARD",
        "XFORWARD attribute=value: names the client that the mail came from, for the log (Postfix)",
        value=lambda options, offer: XFORWARD_ATTRIBUTES,
        offered=lambda offer: offer.xforward,
    ),
    Extension("HELP", "HELP lists the commands; HELP topic explains one (RFC 5321)"),
)

_MAIL_CHECKS = {keyword: check for extension in EXTENSIONS for keyword, check in extension.mail.items()}
_RCPT_CHECKS = {keyword: check for extension in EXTENSIONS for keyword, check in extension.rcpt.items()}
# Most parameters can be used at any time.
_LIMITED = {
    keyword: extension.offered
    for extension in EXTENSIONS
    if not (extension.always or extension.offered(NO_OFFER))
    for keyword in (*extension.mail, *extension.rcpt)
}


@lru_cache(maxsize=64)
def ehlo_reply(options: SMTPOptions, offer: Offer) -> Reply:
    """The reply to EHLO: one line for each extension that is offered."""
    lines = [extension.line(options, offer) for extension in EXTENSIONS if extension.offered(offer)]
    if options.old_auth_line and offer.mechanisms:
        lines.append(f"AUTH={' '.join(offer.mechanisms)}")
    return reply(250, "", options.hostname, *lines)


def check_mail(parameters: Parameters, options: SMTPOptions, offer: Callable[[], Offer]) -> None:
    """Check the parameters of MAIL. Raises :class:`~mailserver.session.verbs.Refused`."""
    _check(_MAIL_CHECKS, "MAIL", parameters, options)
    for keyword in _LIMITED.keys() & parameters:
        if not _LIMITED[keyword](offer()):
            raise _not_recognized("MAIL", keyword)


def check_rcpt(parameters: Parameters, options: SMTPOptions) -> None:
    """Check the parameters of RCPT. Raises :class:`~mailserver.session.verbs.Refused`."""
    _check(_RCPT_CHECKS, "RCPT", parameters, options)


def _check(
    checks: Mapping[str, ParameterCheck], verb: str, parameters: Parameters, options: SMTPOptions
) -> None:
    for keyword, value in parameters.items():
        check = checks.get(keyword)
        if check is None:
            raise _not_recognized(verb, keyword)
        check(value, options)


def _not_recognized(verb: str, keyword: str) -> Refused:
    return Refused(reply(555, "5.5.4", f"{verb} parameter {keyword} is not recognized"))
