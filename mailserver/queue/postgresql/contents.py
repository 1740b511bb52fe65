"""The contents of waiting messages that are stored apart from their rows: bodies in the database."""

import zlib
from collections.abc import Iterator

import attrs
from zope.interface import implementer

from mailserver.errors import MessageDamaged
from mailserver.postgresql import bodies
from mailserver.postgresql.connections import Connections
from mailserver.queue.sql.values import ISeparateContent, ISeparateContents


@implementer(ISeparateContent)
@attrs.frozen
class BodyContent:
    """The body with the id ``name``, with its expected size and checksum (CRC-32)."""

    connections: Connections = attrs.field(eq=False, repr=False)
    name: str
    size: int
    checksum: int

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`. Raises ``OSError``, and
        :class:`~mailserver.errors.MessageDamaged` if the body is missing or has other octets."""
        octets = checksum = 0
        for chunk in bodies.read(self.connections, self.name):
            octets += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            yield chunk
        if (octets, checksum) != (self.size, self.checksum):
            raise MessageDamaged(f"the body {self.name} does not match its checksum")

    def problem(self) -> str:
        """See :class:`~mailserver.queue.sql.values.ISeparateContent`."""
        return "" if bodies.exists(self.connections, self.name) else "content is missing"


@implementer(ISeparateContents)
@attrs.frozen
class BodyContents:
    """The bodies of a database."""

    connections: Connections

    def read(self, name: str, octets: int, checksum: int) -> BodyContent:
        """See :class:`~mailserver.queue.sql.values.ISeparateContents`."""
        return BodyContent(self.connections, name, octets, checksum)
