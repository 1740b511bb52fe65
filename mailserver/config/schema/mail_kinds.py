"""Kinds of values in the words of mail: domains, addresses, networks, destinations, secrets.

Everything is judged by its form alone: no file is looked at, no name resolved, no hash computed.
"""

import ipaddress
import re
from pathlib import Path

from mailserver.config.schema import endpoints
from mailserver.config.schema.kinds import Context, ParsedText, Secret, SecretText
from mailserver.config.schema.problems import InvalidValue, show
from mailserver.errors import AccountError
from mailserver.mail.address import Address, parse_domain, split_local_part
from mailserver.mail.names import normal_form, require_folder, require_visible
from mailserver.mail.schemes import read_scheme

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _path(text: str, context: Context) -> Path:
    if not text or "\0" in text:
        raise InvalidValue("it is empty" if not text else "it contains a NUL")
    return context.folder / text


_PATH_FORM = "a path, relative ones to the folder of the configuration file"
PATH = ParsedText(_path, _PATH_FORM)
PATH_OR_NONE = ParsedText(
    lambda text, context: _path(text, context) if text else None, f'{_PATH_FORM}, or ""'
)


def _printable(text: str, context: Context) -> str:
    if not text.isprintable():
        raise InvalidValue(f"{show(text)} has a character that cannot be printed")
    return text


def _claim(text: str, context: Context) -> str:
    if not text:
        raise InvalidValue("it is empty")
    return _printable(text, context)


TEXT_OR_NONE = ParsedText(_printable, 'printable characters, or ""')
CLAIM = ParsedText(_claim, 'the name of a claim such as "email" or "sub"')


def _domain(text: str, context: Context) -> str:
    domain = parse_domain(text)
    if ":" in domain and not domain.startswith("[IPv6:"):
        raise InvalidValue(f"{show(text)} is no IP address")
    return domain


DOMAIN = ParsedText(
    _domain, 'a host name such as "mail.example.org", or an address literal such as "[192.0.2.1]"'
)


def _domain_here(text: str, context: Context) -> str:
    domain = _domain(text, context)
    if context.domains and domain not in context.domains:
        raise InvalidValue(f"{show(text)} is no domain of this server", ", ".join(context.domains))
    return domain


DOMAIN_HERE = ParsedText(_domain_here, "one of the domains")


def _endpoint(text: str, context: Context) -> str:
    endpoints.check_endpoint(text)
    return text


ENDPOINT = ParsedText(_endpoint, endpoints.ALLOWED)


def _address(text: str, context: Context) -> Address:
    local, rest = split_local_part(text)
    if rest:
        return Address.parse(text)
    # domains that are wrong themselves are reported, and no Config comes out
    return Address(local, context.domains[0] if context.domains else "localhost")


def _address_here(text: str, context: Context) -> Address:
    address = _address(text, context)
    if context.domains and address.domain not in context.domains:
        raise InvalidValue(
            f"{show(text)} is in no domain of this server", f"an address in {', '.join(context.domains)}"
        )
    require_visible(address)
    owner = context.key.rpartition(".")[0]
    # Two spellings that Unicode takes for the same are one name.
    if (first := context.addresses.setdefault(normal_form(address), owner)) != owner:
        raise InvalidValue(
            f"{show(text)} is already the address of {first}",
            "one account, alias, list or moved for each address",
        )
    return address


def _mailbox_here(text: str, context: Context) -> Address:
    address = _address_here(text, context)
    require_folder(address)
    return address


_ADDRESS_FORM = "a mail address, or a local part alone for the first of the domains"
ADDRESS = ParsedText(_address, _ADDRESS_FORM)
ADDRESS_HERE = ParsedText(
    _address_here, "a mail address in one of the domains, or a local part alone for the first of them"
)
MAILBOX_HERE = ParsedText(_mailbox_here, ADDRESS_HERE.allowed)
ADDRESS_OR_NONE = ParsedText(
    lambda text, context: _address(text, context) if text else None, f'{_ADDRESS_FORM}, or ""'
)


def _network(text: str, context: Context) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidValue(f"{show(text)} is no network") from None
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise InvalidValue(f"{show(text)} is an address within a network", f'the network, "{network}"')
    return network


NETWORK = ParsedText(
    _network, 'an IP address or network such as "192.0.2.1", "192.0.2.0/24" or "2001:db8::/32"'
)


# destination = [ "lmtp:" ] ( "unix:" absolute-path / host ":" port )
# host        = domain / IPv4 / "[" IPv6 "]"
_UNIX = re.compile(r"unix:/[^\x00-\x1f\x7f]+")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})")


def _destination(text: str, context: Context) -> str:
    if "@" in text:
        # a password may stand in front of it, so it is not shown
        raise InvalidValue("it contains an @")
    bare = text.removeprefix("lmtp:")
    if _UNIX.fullmatch(bare):
        return text
    match = _HOST_AND_PORT.fullmatch(bare)
    if match is None:
        raise InvalidValue(f"{show(text)} is no destination")
    # Port 0 is nowhere: mail for such a route waits, which a fixture may want.
    if int(match["port"]) >= 2**16:
        raise InvalidValue(f"{show(text)} has no valid port", "a port from 0 to 65535")
    parse_domain(match["host"] or f"[IPv6:{match['ipv6']}]")
    return text


_DESTINATION_FORM = '"host:port", "[IPv6]:port", "lmtp:host:port", "unix:/path" or "lmtp:unix:/path"'
DESTINATION = ParsedText(_destination, _DESTINATION_FORM)
DESTINATION_OR_NONE = ParsedText(
    lambda text, context: text and _destination(text, context), f'{_DESTINATION_FORM}, or ""'
)


def _password(text: str) -> Secret:
    if not text:
        raise InvalidValue("it is empty")
    try:
        written = read_scheme(text)
    except AccountError as error:
        raise InvalidValue(str(error)) from None
    if (written.scheme == "none") != (not written.value):
        raise InvalidValue("something follows {NONE}" if written.value else "nothing follows the scheme")
    return Secret(text)


# Whether a hash is damaged is for others to judge.
PASSWORD = SecretText(
    _password, 'a plain password; a hash, as "mailserver passwd" and "doveadm pw" print it; or "{NONE}"'
)


# RFC 7518 section 3.2: a key as long as the hash, or longer; the shortest hash has 256 bits.
def _token_key(text: str) -> Secret | None:
    if 0 < len(text.encode()) < 32:
        raise InvalidValue("it is too short")
    return Secret(text) if text else None


TOKEN_KEY = SecretText(_token_key, 'at least 32 octets (RFC 7518 section 3.2), or ""')


def _database_url(text: str) -> Secret | None:
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise InvalidValue("it does not start with postgresql://")
    return Secret(text) if text else None


DATABASE_URL = SecretText(_database_url, 'a URL such as "postgresql://user:password@host/database", or ""')
