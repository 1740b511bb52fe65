"""The header fields of a message in the quarantine: why it is there, and the envelope to release it with.

    X-Quarantine-Reason: TEXT (KEY)
    X-Quarantine-Envelope: BASE64, of JSON

They stand above all fields that the message came with, so nobody else can write them.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from mailserver.errors import AddressError
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.verdict import Aside

LOCAL_PART = "quarantine"
MAX_TEXT = 400  # characters of a reason
_COLUMNS = 72
_FIELDS = re.compile(
    rb"X-Quarantine-Reason: ([^\r\n]*)\r\n"
    rb"X-Quarantine-Envelope:((?:\r\n [A-Za-z0-9+/=]+)+)\r\n"
)
# The fields of the final delivery, which come first.
_OWN = re.compile(rb"(?:(?:Return-Path|Delivered-To): [^\r\n]*\r\n)*")


def quarantine_of(domain: str) -> Address:
    """The mailbox for the messages that are kept aside for a domain."""
    return Address(LOCAL_PART, domain)


@attrs.frozen
class KeptAside:
    """A message in the quarantine. ``envelope`` has no destinations: its recipients are routed again."""

    reason: str
    envelope: Envelope

    @classmethod
    def of(cls, envelope: Envelope, aside: Aside) -> "KeptAside":
        """The record of a message with this envelope."""
        return cls(f"{aside.reason} ({aside.key})", envelope)

    @property
    def fields(self) -> bytes:
        """The header fields."""
        envelope = self.envelope
        content = {
            "id": envelope.id,
            "sender": str(envelope.reverse_path or ""),
            "recipients": [str(recipient) for recipient in envelope.recipients],
            "client": envelope.client,
            "ret": envelope.ret,
            "envid": envelope.envid,
            "reports": {str(name): [each.notify, each.orcpt] for name, each in envelope.reports.items()},
        }
        text = base64.b64encode(json.dumps(content).encode()).decode()
        lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
        reason = "".join(c if " " <= c <= "~" else "?" for c in self.reason[:MAX_TEXT])
        folded = "\r\n ".join(["", *lines])
        return f"X-Quarantine-Reason: {reason}\r\nX-Quarantine-Envelope:{folded}\r\n".encode()

    @classmethod
    def read(cls, beginning: bytes) -> "tuple[KeptAside, int] | None":
        """The record in the first octets of a stored message, and the number of octets up to its end, after
        which the message follows as it came. None if it was not put there by the quarantine."""
        own = _OWN.match(beginning)
        found = _FIELDS.match(beginning, own.end() if own is not None else 0)
        if found is None:
            return None
        try:
            content: Mapping[str, Any] = json.loads(base64.b64decode(found[2].replace(b"\r\n ", b"")))
            return cls(found[1].decode(), _envelope(content)), found.end()
        except (binascii.Error, ValueError, KeyError, TypeError, AddressError):
            return None


def _envelope(content: Mapping[str, Any]) -> Envelope:
    sender = str(content["sender"])
    reverse_path: ReversePath = _address(sender) if sender else None
    return Envelope(
        id=str(content["id"]),
        reverse_path=reverse_path,
        recipients=tuple(_address(str(each)) for each in content["recipients"]),
        destinations=(),
        client=str(content["client"]),
        ret=str(content["ret"]),
        envid=str(content["envid"]),
        reports={
            _address(name): ReportRequest(str(notify), str(orcpt))
            for name, (notify, orcpt) in content["reports"].items()
        },
    )


def _address(text: str) -> Address:
    return Address.parse(text, any_dots=True)
