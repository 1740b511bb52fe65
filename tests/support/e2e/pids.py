"""Processes of a server, by their ids."""

import fcntl
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def runs(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def has_files(pid: int) -> bool:
    """Whether a process has files and sockets open; one that is about to be gone has none."""
    try:
        return any(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def is_locked(path: Path) -> bool:
    """Whether a process has locked a file with flock(2)."""
    if not path.exists():
        return False
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def numbered_workers(pid: int) -> dict[int, int]:
    """The process ids of the workers of a supervisor that run, by their numbers."""
    found = {}
    for child in children(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mailserver.app.workers" in words:
            found[int(words[words.index(b"mailserver.app.workers") + 1])] = child
    return dict(sorted(found.items()))


def socket_inode(local: int, remote: int) -> str:
    """The inode of the socket with these ports on 127.0.0.1; "" if there is none."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{local:04X}") and fields[2].endswith(f":{remote:04X}"):
            return fields[9]
    return ""


def has_socket(pid: int, inode: str) -> bool:
    """Whether a process has the socket open."""
    try:
        links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return f"socket:[{inode}]" in links
