"""The question whether an IP address belongs to this machine."""

import socket

PORT = 25  # any would do


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
