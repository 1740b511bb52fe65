"""The running server: whether there is one, its version, its configuration and its descriptors."""

from collections.abc import Iterator

from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation

# Descriptors beside those of connections: files of mailboxes, the databases, DNS, logs.
OTHERS = 500
CLOCKS = 1.0  # seconds that the time of a file may differ from that of the server


def check_server(it: Installation) -> Iterator[DoctorFinding]:
    """What the server says of itself."""
    server = it.server
    if it.server_trouble is not None:
        yield it.server_trouble
    elif server is None:
        text = f"no server runs on {it.data}: no mail is accepted or delivered"
        yield DoctorFinding(
            "server-down", "server", text, "systemctl start mailserver, or: twistd mailserver"
        )
    else:
        if server.version != it.version:
            text = f"version {server.version} is running, and {it.version} is installed"
            yield DoctorFinding("server-version", "server", text, "systemctl restart mailserver")
        if it.path.stat().st_mtime > server.loaded + CLOCKS:
            text = "the file has changed since the server read it"
            yield DoctorFinding("configuration-not-loaded", str(it.path), text, "mailserver reload")
    limit = it.machine.descriptors() if server is None else server.descriptors
    needed = it.config.limits.connections + it.config.queue.connections + OTHERS
    if 0 <= limit < needed:
        text = (
            f"a process may open {limit} files, and limits.connections, queue.connections and the files of "
            f"mailboxes need {needed}: the server pauses when they are used up"
        )
        mend = f"LimitNOFILE={needed} in mailserver.service, or a smaller limits.connections"
        yield DoctorFinding("few-descriptors", "limits.connections", text, mend)
