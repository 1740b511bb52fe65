"""The self-test for an open relay: what strangers try, in a session with a listener, or by the rules."""

from collections.abc import Sequence
from functools import partial

from mailserver.app.doctor.findings import DoctorFinding, DoctorNote, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.doctor.listeners import PATIENCE, places
from mailserver.app.doctor.probe import ListenerPlace, ProbeFailed, ProbeSession
from mailserver.errors import AddressError
from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, Routed
from mailserver.policy.relay import RelayPermission
from mailserver.policy.strangers import inside
from mailserver.reception.transaction import Client, Recipient, Transaction
from mailserver.routing.router import Router

OUTSIDE = "target.invalid"  # RFC 2606: nobody has it, should the server accept a message after all
SENDER = "relay-test@sender.invalid"
STRANGERS = ("192.0.2.1", "198.51.100.1", "2001:db8::1", "8.8.8.8", "2606:4700::1")
ACCEPTED = "25"  # the first digits of a reply that accepts a recipient
MEND = "set relay.networks to your own networks, and look at smtp.xclient_networks and listen.proxies"


def forms(domain: str) -> Sequence[tuple[str, str]]:
    """The senders and recipients that strangers try, as in MAIL and RCPT."""
    plain = f"relay-test@{OUTSIDE}"
    return (
        (SENDER, plain),
        ("", plain),
        (f"postmaster@{domain}", plain),
        (SENDER, f"relay-test@[{STRANGERS[0]}]"),
        (SENDER, f"relay-test%{OUTSIDE}@{domain}"),
        (SENDER, f'"{plain}"@{domain}'),
        (SENDER, f"{OUTSIDE}!relay-test@{domain}"),
        (SENDER, f"@{domain}:{plain}"),
        (SENDER, f"{plain}@{domain}"),
        (SENDER, f"relay-test%{OUTSIDE}"),
    )


async def check_open_relay(it: Installation) -> Sequence[Examined]:
    """A session with each SMTP listener from an address that may not relay, else the rules themselves."""
    results: list[Examined] = []
    rules = RelayRules(it)
    tested = False
    for number, place in places(it):
        if place.protocol != "smtp" or place.proxied or place.path:
            continue
        source = _source(it, place)
        if source is None:
            continue
        target = f"{place} (listen[{number}])"
        try:
            accepted = await it.run(partial(_try, it, place, source))
        except ProbeFailed as error:
            results.append(NotChecked("open relay", f"the session from {source} with {target}: {error}"))
            continue
        tested = True
        results.append(DoctorNote(f"open relay: tested in a session from {source} with {target}"))
        # A catch-all may take such a name for a mailbox here.
        relayed = [form for form in accepted if not rules.stays_here(form[1])]
        results += _open(f"listen[{number}]", f"a session from {source}", relayed)
    if not tested and it.accounts is None:
        results.append(NotChecked("open relay", "the account store is unreadable"))
    elif not tested:
        results.append(DoctorNote(f"open relay: tested by the rules, for the clients {', '.join(STRANGERS)}"))
        results += _open("relay.networks", "the rules", rules.accepted())
    return results


def _open(subject: str, way: str, accepted: Sequence[tuple[str, str]]) -> list[Examined]:
    if not accepted:
        return []
    shown = ", ".join(f"from <{sender}> to <{recipient}>" for sender, recipient in accepted[:3])
    text = f"{way} may send mail of strangers to other servers: {shown}"
    return [DoctorFinding("open-relay", subject, text, MEND)]


def _source(it: Installation, place: ListenerPlace) -> str | None:
    """An address of this machine that may connect there as a stranger."""
    may_relay = inside(it.config.relay.networks)
    candidates = [*it.machine.addresses(), place.host]
    same_family = [one for one in candidates if (":" in one) == (":" in place.host)]
    return next((one for one in same_family if not may_relay(one)), None)


def _try(it: Installation, place: ListenerPlace, source: str) -> Sequence[tuple[str, str]]:
    """The forms that the server accepts. Blocks. Raises :class:`ProbeFailed`."""
    accepted = []
    with ProbeSession(place, PATIENCE + it.config.smtp.greeting_delay, source) as session:
        session.ask(f"EHLO {it.config.hostname}")
        for sender, recipient in forms(it.config.domains[0]):
            if session.ask(f"MAIL FROM:<{sender}>")[0].startswith(ACCEPTED):
                if session.ask(f"RCPT TO:<{recipient}>")[0].startswith(ACCEPTED):
                    accepted.append((sender, recipient))
                session.ask("RSET")
        session.ask("QUIT")
    return accepted


class RelayRules:
    """The rules that decide about relaying, as the configuration has them."""

    def __init__(self, it: Installation) -> None:
        self._domain = it.config.domains[0]
        self._router = Router(it.accounts.table) if it.accounts is not None else None
        relay = it.config.relay
        self._permission = RelayPermission(relay.networks, relay.domains, relay.atrn)

    def accepted(self) -> Sequence[tuple[str, str]]:
        """The forms of strangers that would be relayed."""
        return [
            (sender, recipient)
            for sender, recipient in forms(self._domain)
            if not self.stays_here(recipient) and any(map(partial(self._permits, recipient), STRANGERS))
        ]

    def stays_here(self, recipient: str) -> bool:
        """Whether mail to the recipient goes to mailboxes here, or nowhere."""
        address = _address(recipient)
        if address is None or self._router is None:
            return address is None
        routed = self._router.route(address)
        return not (isinstance(routed, Routed) and routed.relayed)

    def _permits(self, recipient: str, ip: str) -> bool:
        address = _address(recipient)
        if address is None or self._router is None:
            return False
        routed = self._router.route(address)
        client = Client(ip=ip, helo="stranger.invalid", protocol="ESMTP")
        transaction = Transaction("relay-test", "listen[1]", client, None, {})
        if not isinstance(routed, Routed):
            return False
        verdict = self._permission.check_routed(transaction, Recipient(address, routed, {}))
        return isinstance(verdict, Accept)


def _address(text: str) -> Address | None:
    try:
        return Address.parse(text.partition(":")[2] if text.startswith("@") else text)
    except AddressError:
        return None
