"""The sessions of a fixture, for tests to look at."""

import attrs

from mailserver.faults.transcript import Transcript


@attrs.define(eq=False)
class Session:
    """One session. ``protocol`` is "smtp" or "pop3", ``client`` an IP address.

    ``tls`` is the version of TLS with its cipher, "" without TLS. ``mechanism`` and ``account`` are those of
    the login, "" without one.
    """

    id: str
    protocol: str
    client: str
    transcript: Transcript
    tls: str = ""
    mechanism: str = ""
    account: str = ""
    closed: bool = False

    def __str__(self) -> str:
        return self.transcript.dialogue()
