"""The connection of a client that has sent ATRN: this side sends mail by it (RFC 2645 section 5.2)."""

from mailserver.interfaces import IReactor
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.net.sending import SendingConnection
from mailserver.smtp.sender.settings import SenderSettings


def reversed_connection(reactor: IReactor, client_ip: str, hostname: str) -> SendingConnection:
    """The sending side for the transport of a client; call ``makeConnection``, and pass on what comes.

    ``client_ip`` is "" for a client of a unix socket. If the connection has TLS already, it stays.
    """
    host = RelayHost(client_ip, (client_ip,)) if client_ip else RelayHost("localhost", path="ATRN")
    settings = SenderSettings(hostname=hostname, start_tls="never")
    return SendingConnection(reactor, host, None, settings, TLSRequirement(TLSLevel.NONE, "relay.atrn"))
