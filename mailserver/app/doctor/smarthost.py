"""The smarthost and the routes: whether they can be reached, and whether the login works."""

from collections.abc import Sequence
from typing import NoReturn

from twisted.internet.defer import Deferred

from mailserver.app.doctor.findings import DoctorFinding, Examined
from mailserver.app.doctor.installation import Installation
from mailserver.config.keys.relay import RelaySection
from mailserver.delivery.smtp.hosts import NoHost, configured_host, configured_tls
from mailserver.delivery.smtp.next_hop import NextHop, Routes
from mailserver.delivery.smtp.password import read_password
from mailserver.errors import HostUnusable, StorageError
from mailserver.net.dialling import Dialler
from mailserver.sasl.client import ClientCredentials
from mailserver.smtp.sender.settings import SenderSettings

ANYWHERE = "smarthost.invalid"  # a domain without a route
PATIENCE = 30.0  # seconds for a session


async def check_smarthost(it: Installation) -> Sequence[Examined]:
    """The sessions that deliveries would begin; no message is sent."""
    relay, routes = it.config.relay, Routes(it.config.relay)
    hops = {f"relay.routes ({domain})": routes.next_hop(domain) for domain in relay.routes}
    if relay.smarthost:
        hops["relay.smarthost"] = routes.next_hop(ANYWHERE)
    results: list[Examined] = []
    for key, hop in hops.items():
        try:
            session = Deferred.fromCoroutine(_session(it, relay, hop))
            await session.addTimeout(PATIENCE, it.reactor, _give_up)
        except (HostUnusable, NoHost) as error:
            kind = "smarthost-unusable" if key == "relay.smarthost" else "route-unusable"
            text = f"mail for it waits in the queue: {error}"
            mend = f"correct {key.partition(' ')[0]}"
            if hop.login:
                mend += ", relay.smarthost_user or relay.smarthost_password_file"
            results.append(DoctorFinding(kind, key, text, mend))
        except StorageError:
            continue  # the check of the files reports the password file
    return results


def _give_up(result: object, seconds: float) -> NoReturn:
    raise HostUnusable(f"no session within {seconds:.3g} seconds", "")


async def _session(it: Installation, relay: RelaySection, hop: NextHop) -> None:
    """Raises :class:`HostUnusable`, :class:`NoHost` and :class:`StorageError`."""
    credentials = None
    if hop.login:
        assert relay.smarthost_password_file is not None
        password = await it.run(read_password, relay.smarthost_password_file)
        credentials = ClientCredentials(relay.smarthost_user, password)
    host = await configured_host(hop, it.resolver)
    settings = SenderSettings(
        hostname=it.config.hostname,
        protocol="lmtp" if hop.lmtp else "smtp",
        credentials=credentials,
        plaintext_auth=host.is_local,
    )
    connection = await Dialler(it.reactor).dial(
        host, settings, configured_tls(hop, host), relay.source_address
    )
    connection.quit()
