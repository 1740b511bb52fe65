"""A message with another header than the one that arrived."""

from collections.abc import Iterator

import attrs
from zope.interface import implementer

from mailserver.interfaces import IContent


@implementer(IContent)
@attrs.frozen
class ContentWithHeader:
    """The ``header``, and all octets of ``content`` but the first ``replaced`` ones."""

    header: bytes
    content: IContent
    replaced: int

    @property
    def size(self) -> int:
        """Length in octets."""
        return len(self.header) + self.content.size - self.replaced

    def chunks(self) -> Iterator[bytes]:
        """See :class:`~mailserver.interfaces.IContent`."""
        if self.header:
            yield self.header
        yield from chunks_after(self.content, self.replaced)


def chunks_after(content: IContent, octets: int) -> Iterator[bytes]:
    """The pieces of the content without its first ``octets``."""
    for chunk in content.chunks():
        if octets < len(chunk):
            yield chunk[octets:] if octets else chunk
        octets = max(0, octets - len(chunk))
