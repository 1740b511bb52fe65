"""Settings that are allowed and risky: relaying, plain passwords, trust, missing limits, size of messages."""

import ipaddress
from collections.abc import Iterator, Sequence

from mailserver.accounts.passwords import StoredPassword
from mailserver.app.check import exposure
from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.endpoints import interface
from mailserver.config.schema.mail_kinds import Network
from mailserver.mail.rate import Rate
from mailserver.policy.strangers import client_address

_PRIVATE = tuple(
    ipaddress.ip_network(one)
    for one in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)
# Narrower networks may well belong to one organization.
_WIDE = {4: 15, 6: 31}
WITH_LOGIN = ("smtp", "submission", "pop3")


def check_configuration(it: Installation) -> Iterator[DoctorFinding]:
    """All settings."""
    config = it.config
    yield from _relaying(config)
    yield from _trust(config)
    yield from _passwords(it)
    yield from _limits(config)
    yield from _sizes(config)
    yield from _names(config)


def is_exposed(listen: ListenSection) -> bool:
    """Whether other machines may reach the listener, as far as its endpoint tells."""
    if listen.endpoint.startswith("unix:"):
        return False
    host = interface(listen.endpoint)
    if host == "localhost":
        return False
    try:
        return not (host and client_address(host).is_loopback)
    except ValueError:
        return True


def wide(networks: Sequence[Network]) -> Iterator[Network]:
    """Those of the networks that have many public addresses."""
    for network in networks:
        if network.prefixlen > _WIDE[network.version]:
            continue
        # mypy: the two kinds of networks cannot be compared
        if not any(network.subnet_of(one) for one in _PRIVATE if one.version == network.version):  # type: ignore[arg-type]
            yield network


def _relaying(config: Config) -> Iterator[DoctorFinding]:
    for network in wide(config.relay.networks):
        yield DoctorFinding(
            "open-relay-networks",
            "relay.networks",
            f"everybody in {network} may send mail to the whole world through this server without a login",
            "set relay.networks to the networks of your own machines, such as 127.0.0.0/8",
        )
    if config.relay.tls == "none":
        text = "mail to other servers is sent in the clear, even if they offer TLS"
        yield DoctorFinding("relay-without-tls", "relay.tls", text, 'set relay.tls = "opportunistic"')


def _trust(config: Config) -> Iterator[DoctorFinding]:
    trusting = {
        "smtp.xclient_networks": config.smtp.xclient_networks,
        "smtp.xforward_networks": config.smtp.xforward_networks,
        "limits.exempt": config.limits.exempt,
        "policy.exempt": config.policy.exempt or (),
    }
    for number, listen in enumerate(config.listen, 1):
        trusting[f"listen[{number}].proxies"] = listen.proxies
    effects = {
        "smtp.xclient_networks": "may claim to be any client, and so relay mail",
        "smtp.xforward_networks": "may write any client into the log",
        "limits.exempt": "has no limits, also not for wrong passwords",
        "policy.exempt": "is not checked: no SPF, DKIM, DMARC, DNSBL or mail filter",
    }
    for key, networks in trusting.items():
        for network in wide(networks):
            effect = effects.get(key, "may claim to be any client, and so relay mail")
            yield DoctorFinding(
                "trusts-everybody", key, f"everybody in {network} {effect}", f"set {key} to your own networks"
            )
    if "ANONYMOUS" in config.auth.mechanisms:
        text = "everybody can log in without a password, and may then send mail"
        yield DoctorFinding(
            "anonymous-login", "auth.mechanisms", text, 'remove "ANONYMOUS" from auth.mechanisms'
        )
    if config.smtp.verify == "always":
        text = "everybody can find out which addresses exist, by VRFY and EXPN"
        yield DoctorFinding("names-disclosed", "smtp.verify", text, 'set smtp.verify = "authenticated"')


def _passwords(it: Installation) -> Iterator[DoctorFinding]:
    config = it.config
    for number, listen in enumerate(config.listen, 1):
        if not is_exposed(listen) or listen.protocol not in WITH_LOGIN or listen.tls == "implicit":
            continue
        section = "pop3" if listen.protocol == "pop3" else "smtp"
        allowed = (config.pop3 if section == "pop3" else config.smtp).plaintext_auth
        if allowed is True:
            yield DoctorFinding(
                "plaintext-passwords",
                f"{section}.plaintext_auth",
                f"passwords cross the network in the clear: {listen.endpoint} is reachable from other "
                "machines, and accepts them without TLS",
                f"set {section}.plaintext_auth = false",
            )
        elif listen.tls == "none" and listen.protocol != "smtp":
            yield DoctorFinding(
                "login-impossible",
                f"listen[{number}].tls",
                f"nobody can log in at {listen.endpoint} from another machine: it has no TLS, and "
                f"{section}.plaintext_auth forbids passwords in the clear",
                'add a section [tls], and set tls = "starttls" or "implicit"',
            )
    if (warning := exposure(it.path, config)) is not None:
        text, _, mend = warning.removeprefix(f"{it.path}: ").partition("; fix it with: ")
        yield DoctorFinding("configuration-exposed", str(it.path), text, mend)
    plain = [one for one in config.accounts if StoredPassword.read(one.password.reveal()).scheme == "plain"]
    if plain:
        yield DoctorFinding(
            "plain-passwords-stored",
            "account.password",
            f"the passwords of {_accounts(len(plain))} are in {it.path} as they are",
            "replace each by its hash: mailserver passwd",
        )


def _accounts(number: int) -> str:
    return "1 account" if number == 1 else f"{number} accounts"


def _limits(config: Config) -> Iterator[DoctorFinding]:
    limits = config.limits
    if not limits.auth_block_after and not limits.auth_failures:
        yield DoctorFinding(
            "guessing-unlimited",
            "limits.auth_block_after",
            "a client may try as many passwords as it likes",
            "set limits.auth_block_after to a number such as 10",
        )
    for key in ("connections", "connections_per_address"):
        if not getattr(limits, key):
            text = "there is no limit: a few clients can use up all connections of this machine"
            mend = f"remove limits.{key} = 0, so that the default is in force"
            yield DoctorFinding("connections-unlimited", f"limits.{key}", text, mend)
    if limits.recipients_per_account == Rate() and limits.messages_per_account == Rate():
        yield DoctorFinding(
            "sending-unlimited",
            "limits.recipients_per_account",
            "whoever knows the password of an account may send any amount of spam",
            'set limits.recipients_per_account to a rate such as "2000/1d"',
        )
    if not config.alerts.mail and config.alerts.webhook is None:
        text = "no alert is sent if an account sends too much, or if somebody guesses a password"
        yield DoctorFinding("no-alerts", "alerts.mail", text, "set alerts.mail = true, or alerts.webhook")
    if not config.log.trace_days:
        text = "mailserver trace knows nothing, because no events are kept"
        yield DoctorFinding("no-trace", "log.trace_days", text, "set log.trace_days = 14")


def _sizes(config: Config) -> Iterator[DoctorFinding]:
    if config.storage.engine == "memory":
        text = "all mail and all accounts of the account store are lost when the server stops"
        mend = 'set storage.engine = "maildir"'
        yield DoctorFinding("storage-in-memory", "storage.engine", text, mend)
        return
    if not config.storage.reserve:
        text = "new mail may fill the disk completely; then users cannot even delete mail"
        yield DoctorFinding("no-reserve", "storage.reserve", text, 'set storage.reserve = "64 MiB" or more')
    largest = config.smtp.max_message_size
    quotas = {"storage.quota": config.storage.quota}
    quotas |= {f"account[{n}].quota": one.quota or 0 for n, one in enumerate(config.accounts, 1)}
    for key, quota in quotas.items():
        if 0 < quota < largest:
            text = f"a mailbox may have {quota} octets, less than one message (smtp.max_message_size)"
            yield DoctorFinding("quota-too-small", key, text, f"set {key} to at least {largest} octets")


def _names(config: Config) -> Iterator[DoctorFinding]:
    if "." not in config.hostname or config.hostname.startswith("["):
        yield DoctorFinding(
            "hostname-unusable",
            "hostname",
            f'"{config.hostname}" is not a name in DNS: many servers reject mail from it',
            "set hostname to the full name of this machine, such as mail.example.org",
        )
    exposed = [listen for listen in config.listen if is_exposed(listen)]
    if exposed and config.tls is None:
        yield DoctorFinding(
            "no-tls",
            "tls",
            "the server has no certificate: mail crosses the network in the clear",
            "get a certificate for the hostname, and add a section [tls]",
        )
    if exposed and config.tls is not None and config.tls.generate:
        yield DoctorFinding(
            "tls-generated",
            "tls.generate",
            "the certificate is made by the server itself: no other machine trusts it",
            "get a certificate for the hostname, and set tls.certificate and tls.private_key",
        )
    for number, listen in enumerate(config.listen, 1):
        if listen.protocol == "metrics" and is_exposed(listen):
            text = f"everybody who reaches {listen.endpoint} can read the metrics, without a password"
            mend = "let it listen on a loopback address, or close the port by a firewall"
            yield DoctorFinding("metrics-exposed", f"listen[{number}].endpoint", text, mend)
    if config.allow_root:
        yield DoctorFinding(
            "root-allowed",
            "allow_root",
            "the server may run as root: a mistake in it would endanger the whole machine",
            "run it as a user of its own, and remove allow_root",
        )
