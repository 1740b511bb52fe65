"""The options of the sessions of a listener for SMTP, submission or LMTP."""

import attrs

from mailserver.config.keys.smtp import SmtpSection


@attrs.frozen
class SMTPOptions(SmtpSection):
    """The keys of the section [smtp], and the options of the listener.

    ``domain`` completes a local part without a domain. ``submission`` (RFC 6409): mail is accepted only
    after a login; also if the client is not ``trusted``. ``lmtp``: the sessions speak LMTP. ``mechanisms``
    are those of AUTH, which needs TLS unless ``plaintext_auth``. ``starttls``: a client can start TLS. After
    ``max_login_failures`` failed logins the connection is closed; 0 means never. ``queue_starts``: there are
    domains whose queue ETRN can start. ``fetches``: there are domains whose mail accounts may fetch by ATRN.
    ``xclient`` and ``xforward``: the client may use these commands.
    """

    hostname: str
    domain: str
    submission: bool = False
    lmtp: bool = False
    trusted: bool = True
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    max_login_failures: int = 3
    queue_starts: bool = False
    fetches: bool = False
    xclient: bool = False
    xforward: bool = False

    @property
    def needs_login(self) -> bool:
        """Whether mail is accepted only after a login."""
        return self.submission or not self.trusted


@attrs.frozen
class Offer:
    """The features that a session can use now.

    ``starttls`` until TLS is active; ``mechanisms`` until the client has logged in; ``lookups``: VRFY and
    EXPN give information about names; ``queue_starts``: ETRN can start the queue for a domain; ``fetches``:
    ATRN can be used after a login. ``secure``: TLS is active. ``submission``: the client has logged in, or
    must do so before it sends mail. ``no_soliciting``: some classes of solicitation are rejected. ``xclient``
    and ``xforward``: the client may use these commands.
    """

    starttls: bool
    mechanisms: tuple[str, ...]
    lookups: bool
    queue_starts: bool
    fetches: bool
    secure: bool
    submission: bool
    no_soliciting: bool = False
    xclient: bool = False
    xforward: bool = False


NO_OFFER = Offer(
    starttls=False,
    mechanisms=(),
    lookups=False,
    queue_starts=False,
    fetches=False,
    secure=False,
    submission=False,
)
