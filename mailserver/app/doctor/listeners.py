"""The listeners: whether each one is open, speaks its protocol, and begins TLS with the right certificate."""

import socket
from collections.abc import Sequence
from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.doctor.probe import ListenerPlace, ProbeFailed, Served, probe
from mailserver.app.tls import tls_sources
from mailserver.config.schema.endpoints import interface, tcp_port
from mailserver.net.pairs import Unusable, read_pair
from mailserver.policy.strangers import client_address

PATIENCE = 10.0  # seconds for each step of a session
WITH_NAME = ("smtp", "submission", "lmtp")  # the greeting has the hostname


def places(it: Installation) -> Sequence[tuple[int, ListenerPlace]]:
    """The listeners of the running server, with their numbers."""
    if it.server is None:
        return ()
    sections = it.config.listen
    found = []
    for number, listener in enumerate(it.server.listeners, 1):
        place = ListenerPlace.of(listener)
        if number <= len(sections) and place.host:
            own = client_address(place.host)
            proxied = any(own in network for network in sections[number - 1].proxies)
            place = ListenerPlace.of(listener, proxied)
        found.append((number, place))
    return found


async def check_listeners(it: Installation) -> Sequence[Examined]:
    """Those of the running server; without one, whether another program has their ports."""
    if it.server_trouble is not None:
        return [NotChecked("listeners", "the server does not say where it listens")]
    if it.server is None:
        found: list[Examined] = [NotChecked("listeners", "no server runs")]
        return [*found, *await it.run(_taken, it)]
    results: list[Examined] = []
    own = await it.run(_own_certificates, it)
    for number, place in places(it):
        seconds = PATIENCE + it.config.smtp.greeting_delay
        try:
            served = await it.run(partial(probe, place, it.config.hostname, seconds))
        except ProbeFailed as error:
            mend = "look into the log; is another program on this port? ss -ltnp"
            results.append(DoctorFinding(error.kind, f"listen[{number}]", f"{place}: {error}", mend))
        else:
            results += _served(it, number, place, served, own)
    if any(place.protocol == "smtp" for _, place in places(it)):
        results.append(NotChecked("port 25 from outside", "that needs another machine"))
    return results


def _served(
    it: Installation, number: int, place: ListenerPlace, served: Served, own: Sequence[bytes]
) -> list[Examined]:
    key = f"listen[{number}]"
    found: list[Examined] = []
    name = served.greeting.partition(" ")[0]
    if place.protocol in WITH_NAME and name != it.config.hostname:
        text = f'{place}: the greeting has the name "{name}", not {it.config.hostname} (hostname)'
        mend = "restart the server, or end the other program on this port: ss -ltnp"
        found.append(DoctorFinding("port-other-name", key, text, mend))
    if served.certificate is not None and own and served.certificate not in own:
        text = f"{place}: the certificate is not one of those in the files: the renewed one is not in force"
        mend = "mailserver reload, and look into the log"
        found.append(DoctorFinding("port-other-certificate", key, text, mend))
    return found


def _own_certificates(it: Installation) -> list[bytes]:
    sources = tls_sources(it.config)
    if sources is None:
        return []
    try:
        return [read_pair(files).certificate.public_bytes(Encoding.DER) for files in sources.pairs]
    except Unusable:
        return []  # the check of the certificates reports it


def _taken(it: Installation) -> Sequence[DoctorFinding]:
    """The ports of listeners that another program has."""
    found = []
    for number, listen in enumerate(it.config.listen, 1):
        port, host = tcp_port(listen.endpoint), interface(listen.endpoint)
        if not port:
            continue
        loopback = "::1" if listen.endpoint.startswith("tcp6:") else "127.0.0.1"
        try:
            socket.create_connection((host or loopback, port), PATIENCE).close()
        except OSError:
            continue
        text = f"another program listens on port {port}: the server cannot start"
        mend = f"find and end it: ss -ltnp sport = :{port}"
        found.append(DoctorFinding("port-taken", f"listen[{number}].endpoint", text, mend))
    return found
