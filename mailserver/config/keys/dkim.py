"""The section [[dkim]]: signatures of outgoing mail (RFC 6376)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mailserver.config.schema.dns_kinds import DNS_NAME, SELECTOR
from mailserver.config.schema.kinds import Context
from mailserver.config.schema.mail_kinds import PATH
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class DkimSection:
    """A key that signs the mail of a domain."""

    domain: str = key(
        DNS_NAME,
        "Domain whose mail is signed, by the address in From: this domain, and those below it that have no "
        "keys of their own.",
        example="example.org",
    )
    selector: str = key(
        SELECTOR,
        "Selector of the public key, which is published in DNS at SELECTOR._domainkey.DOMAIN. A domain may "
        "have several keys, such as one RSA and one Ed25519 key, each with its own selector.",
        example="s1",
    )
    key: Path = key(
        PATH,
        "PEM file with the private key, RSA or Ed25519. `mailserver dkim make` makes one, and prints the DNS "
        "record of its public key.",
        example="dkim/s1.pem",
    )


def check_dkim(sections: Sequence[DkimSection], context: Context) -> Iterator[KeyProblem]:
    """Each public key has a name of its own in DNS. ``context`` is that of all sections."""
    names = [(one.domain, one.selector) for one in sections]
    for index, name in enumerate(names):
        if name in names[:index]:
            text = f'duplicate selector "{name[1]}" of {name[0]}; allowed: each one once in a domain'
            yield KeyProblem(context.item(index).below("selector").key, text)
