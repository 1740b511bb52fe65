"""The IP addresses of this machine."""

import socket
from contextlib import suppress

PORT = 25  # any would do
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation


def is_local(address: str) -> bool:
    """Whether the machine has the address. Sends nothing.

    The system takes the address itself as the source of packets to it.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, PORT))
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False


def source_addresses() -> tuple[str, ...]:
    """The addresses that the system takes for connections to the outside. Sends nothing."""
    found = []
    for family, address in _OUTSIDE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, PORT))
            found.append(str(probe.getsockname()[0]))
    return tuple(found)
