"""Kinds of the values of mail: paths, domains, addresses, networks, destinations, milters, secrets.

They check the form of a value only: they read no file, resolve no name and compute no hash.
"""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from mailserver.config.schema import endpoints
from mailserver.config.schema.kinds import Context, ParsedText, Secret, SecretText
from mailserver.config.schema.problems import InvalidValue, show
from mailserver.errors import AccountError
from mailserver.mail.address import Address, parse_domain, split_local_part
from mailserver.mail.names import composed, normal_form, require_clear, require_folder
from mailserver.mail.schemes import read_scheme

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _path(text: str, context: Context) -> Path:
    if not text or "\0" in text:
        raise InvalidValue("the path contains a NUL character" if text else "the path is empty")
    return context.folder / text


# A name that systemd accepts for a credential; systemd allows more (systemd.exec(5)).
_CREDENTIAL = "credential:"
_CREDENTIAL_NAME = re.compile(r"(?!\.)[A-Za-z0-9._@-]{1,255}")


def _file(text: str, context: Context) -> Path:
    if not text.startswith(_CREDENTIAL):
        return _path(text, context)
    name = text.removeprefix(_CREDENTIAL)
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise InvalidValue(
            f"invalid name of a credential {show(name)}",
            'the name of one in LoadCredential=, such as "key.pem"',
        )
    return context.credentials / name


_PATH_FORM = "a path, absolute or relative to the folder of the configuration file"
FOLDER = ParsedText("path", _path, _PATH_FORM)
PATH = ParsedText("path", _file, _PATH_FORM)
PATH_OR_NONE = ParsedText(
    "path", lambda text, context: _file(text, context) if text else None, f'{_PATH_FORM}, or ""'
)


def _printable(text: str, context: Context) -> str:
    if not text.isprintable():
        raise InvalidValue(f"{show(text)} contains a character that is not printable")
    return text


def _claim(text: str, context: Context) -> str:
    if not text:
        raise InvalidValue("the name is empty")
    return _printable(text, context)


TEXT_OR_NONE = ParsedText("text", _printable, 'printable characters, or ""')
CLAIM = ParsedText("claim", _claim, 'the name of a claim such as "email" or "sub"')


def _domain(text: str, context: Context) -> str:
    domain = parse_domain(text)
    if ":" in domain and not domain.startswith("[IPv6:"):
        raise InvalidValue(f"invalid address literal {show(text)}")
    return domain


DOMAIN = ParsedText(
    "domain", _domain, 'a host name such as "mail.example.org", or an address literal such as "[192.0.2.1]"'
)


def _domain_here(text: str, context: Context) -> str:
    domain = _domain(text, context)
    if context.domains and domain not in context.domains:
        raise InvalidValue(f"{show(text)} is not a domain of this server", ", ".join(context.domains))
    return domain


DOMAIN_HERE = ParsedText("domain", _domain_here, "one of the domains")


def _endpoint(text: str, context: Context) -> str:
    endpoints.check_endpoint(text)
    return text


ENDPOINT = ParsedText("endpoint", _endpoint, endpoints.ALLOWED)


def _address(text: str, context: Context) -> Address:
    local, rest = split_local_part(text)
    if rest:
        return Address.parse(text)
    # Invalid domains are reported themselves, and there is no Config then.
    return Address(local, context.domains[0] if context.domains else "localhost")


def _address_here(text: str, context: Context) -> Address:
    address = composed(_address(text, context))
    if context.domains and address.domain not in context.domains:
        raise InvalidValue(
            f"{show(text)} is not in a domain of this server", f"an address in {', '.join(context.domains)}"
        )
    require_clear(address)
    owner = context.key.rpartition(".")[0]
    # Two spellings with the same Unicode normal form are one name.
    if (first := context.addresses.setdefault(normal_form(address), owner)) != owner:
        raise InvalidValue(
            f"{show(text)} is already the address of {first}",
            "one account, alias, list or moved entry per address",
        )
    return address


def _mailbox_here(text: str, context: Context) -> Address:
    address = _address_here(text, context)
    require_folder(address)
    return address


_ADDRESS_FORM = "a mail address, or only the local part for the first domain"
ADDRESS = ParsedText("address", _address, _ADDRESS_FORM)
ADDRESS_HERE = ParsedText(
    "address",
    _address_here,
    "a mail address in one of the domains, or only the local part for the first domain",
)
MAILBOX_HERE = ParsedText("address", _mailbox_here, ADDRESS_HERE.allowed)
ADDRESS_OR_NONE = ParsedText(
    "address", lambda text, context: _address(text, context) if text else None, f'{_ADDRESS_FORM}, or ""'
)


# word = ALPHA *( "." / "-" / "_" / ":" / ALPHA / DIGIT )      ; RFC 3865 section 2.4
_SOLICITATION = re.compile(r"[A-Za-z][A-Za-z0-9._:-]{0,254}")


def _solicitation(text: str, context: Context) -> str:
    if not _SOLICITATION.fullmatch(text):
        raise InvalidValue(f"invalid class of solicitation {show(text)}")
    return text


SOLICITATION = ParsedText("class", _solicitation, 'a class of solicitation such as "org.example:ADV"')


def _network(text: str, context: Context) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidValue(f"invalid network {show(text)}") from None
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise InvalidValue(f"{show(text)} has host bits set", f'the network "{network}"')
    return network


NETWORK = ParsedText(
    "network", _network, 'an IP address or network such as "192.0.2.1", "192.0.2.0/24" or "2001:db8::/32"'
)


def _ip_address(text: str, context: Context) -> IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidValue(f"invalid IP address {show(text)}") from None
    if getattr(address, "scope_id", None) is not None:
        raise InvalidValue(f"the address {show(text)} has a zone")
    return address


IP_ADDRESS = ParsedText("address", _ip_address, 'an IP address such as "192.0.2.1" or "2001:db8::1"')


# destination = [ "lmtp:" ] "unix:" absolute-path / [ "lmtp:" / "smtps:" ] host ":" port
# host        = domain / IPv4 / "[" IPv6 "]"
_UNIX = re.compile(r"unix:/[^\x00-\x1f\x7f]+")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})")


def _destination(text: str, context: Context) -> str:
    if "@" in text:
        # Before the @ there may be a password, so it is not shown.
        raise InvalidValue("the destination contains an @")
    bare = text.removeprefix("lmtp:")
    if _UNIX.fullmatch(bare):
        return text
    match = _HOST_AND_PORT.fullmatch(bare.removeprefix("smtps:") if bare == text else bare)
    if match is None:
        raise InvalidValue(f"invalid destination {show(text)}")
    # Port 0 cannot be reached: mail for such a route stays in the queue, which a fixture may want.
    if int(match["port"]) >= 2**16:
        raise InvalidValue(f"invalid port in {show(text)}", "a port from 0 to 65535")
    parse_domain(match["host"] or f"[IPv6:{match['ipv6']}]")
    return text


_DESTINATION_FORM = (
    '"host:port", "[IPv6]:port", "smtps:host:port", "lmtp:host:port", "unix:/path" or "lmtp:unix:/path"'
)
DESTINATION = ParsedText("destination", _destination, _DESTINATION_FORM)
DESTINATION_OR_NONE = ParsedText(
    "destination", lambda text, context: text and _destination(text, context), f'{_DESTINATION_FORM}, or ""'
)


def _milter(text: str, context: Context) -> str:
    if text.startswith(("lmtp:", "smtps:")):
        raise InvalidValue(f"a milter does not speak {text.partition(':')[0].upper()}")
    return _destination(text, context)


MILTER = ParsedText("destination", _milter, '"unix:/path", "host:port" or "[IPv6]:port"')


def _password(text: str) -> Secret:
    if not text:
        raise InvalidValue("the password is empty")
    try:
        written = read_scheme(text)
    except AccountError as error:
        raise InvalidValue(str(error)) from None
    if (written.scheme == "none") != (not written.value):
        raise InvalidValue("text after {NONE}" if written.value else "no password after the scheme")
    return Secret(text)


# The check of the whole configuration recognizes a damaged hash.
PASSWORD = SecretText(_password, 'a password, a hash from "mailserver passwd" or "doveadm pw", or "{NONE}"')


# RFC 7518 section 3.2: a key is at least as long as the hash, and the shortest hash has 256 bits.
def _token_key(text: str) -> Secret | None:
    if 0 < len(text.encode()) < 32:
        raise InvalidValue("the secret is too short")
    return Secret(text) if text else None


TOKEN_KEY = SecretText(_token_key, 'at least 32 octets (RFC 7518 section 3.2), or ""')


def _webhook(text: str) -> Secret | None:
    if text:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii():
            raise InvalidValue("the URL does not start with https:// and a host name")
    return Secret(text) if text else None


WEBHOOK = SecretText(_webhook, 'a URL such as "https://hooks.example/mail", or ""')


def _database_url(text: str) -> Secret | None:
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise InvalidValue("the URL does not start with postgresql://")
    return Secret(text) if text else None


DATABASE_URL = SecretText(_database_url, 'a URL such as "postgresql://user:password@host/database", or ""')
