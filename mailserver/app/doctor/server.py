"""The running server: whether there is one, its version, configuration, workers and descriptors."""

import time
from collections.abc import Iterator

from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation, RunningServer
from mailserver.mail.words import counted

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
        yield from _workers(server)
    workers, cores = it.config.workers, it.machine.cores()
    if isinstance(workers, int) and workers > max(cores, 1):
        text = f"there are {counted(workers, 'worker')}, and the machine has {counted(cores, 'processor')}"
        yield DoctorFinding("many-workers", "workers", text, 'set workers = "auto"')
    limit = it.machine.descriptors() if server is None else server.descriptors
    needed = it.config.limits.connections + it.config.queue.connections + OTHERS
    if 0 <= limit < needed:
        text = (
            f"a process may open {limit} files, and limits.connections, queue.connections and the files of "
            f"mailboxes need {needed}: the server pauses when they are used up"
        )
        mend = f"LimitNOFILE={needed} in mailserver.service, or a smaller limits.connections"
        yield DoctorFinding("few-descriptors", "limits.connections", text, mend)


def _workers(server: RunningServer) -> Iterator[DoctorFinding]:
    """The workers that do not serve."""
    for worker in server.workers:
        if not worker["ready"]:
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(worker["since"]))
            text = f"it starts since {since}" if worker["pid"] else "it has ended, and starts again later"
            mend = "look into the log of the server for the reason"
            yield DoctorFinding("worker-down", f"worker {worker['number']}", text, mend)
