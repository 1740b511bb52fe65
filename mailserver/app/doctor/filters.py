"""The mail filters (milters): whether each one can be asked."""

from collections.abc import Sequence

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.errors import FilterFailed
from mailserver.net.byte_stream import connect_stream
from mailserver.policy.milter.commands import QUIT
from mailserver.policy.milter.options import offer, read_options
from mailserver.policy.milter.packets import PacketReader
from mailserver.policy.strangers import client_address

PATIENCE = 10.0  # seconds for each step

_EFFECTS = {
    "accept": "mail comes in unfiltered",
    "defer": "all mail of strangers is deferred",
    "reject": "all mail of strangers is rejected",
}


async def check_filters(it: Installation) -> Sequence[Examined]:
    """All of policy.milter: a connection and the negotiation."""
    policy = it.config.policy
    results: list[Examined] = []
    for number, destination in enumerate(policy.milter, 1):
        if it.offline and not _is_near(destination):
            results.append(NotChecked(f"policy.milter[{number}]", "--offline"))
            continue
        try:
            await _negotiate(it, destination)
        except (OSError, FilterFailed) as error:
            text = f"{destination} cannot be asked, so that {_EFFECTS[policy.milter_default]}: {error}"
            mend = f"start the filter, or correct policy.milter[{number}]"
            results.append(DoctorFinding("filter-unusable", f"policy.milter[{number}]", text, mend))
    return results


def _is_near(destination: str) -> bool:
    """Whether a filter runs on this machine."""
    if destination.startswith("unix:"):
        return True
    host = destination.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or client_address(host).is_loopback
    except ValueError:
        return False


async def _negotiate(it: Installation, destination: str) -> None:
    """Raises ``OSError`` and :class:`FilterFailed`."""
    stream = await connect_stream(it.reactor, destination, PATIENCE)
    try:
        stream.write(offer())
        reader = PacketReader()
        while True:
            for packet in reader.feed(await stream.read()):
                read_options(*packet)
                stream.write(QUIT)
                return
    finally:
        stream.close()
