"""A mount namespace (mount_namespaces(7)) for a server that insists on users and folders of the system.

What is mounted in it is seen by its processes only, and is gone when they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.e2e.programs import need

SCRIPT = """set -e
cd "$1"; shift
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind resolv.conf /etc/resolv.conf
while [ "$1" != -- ]; do
    mount -t tmpfs -o mode=755 tmpfs "$1"
    shift
done
shift
[ ! -e prepare ] || sh ./prepare
exec "$@"
"""


def enter(
    folder: Path, users: Mapping[str, int], empty: Sequence[str], *command: str | Path, prepare: str = ""
) -> list[str | Path]:
    """The command that runs ``command`` in a namespace that has these users, and no name servers.

    The folders in ``empty`` are empty and may be written; ``prepare`` is a script of the shell that does so.
    """
    passwd = [f"{name}:x:{number}:{number}::/:/usr/sbin/nologin\n" for name, number in users.items()]
    group = [f"{name}:x:{number}:\n" for name, number in users.items()]
    for name, lines in (("passwd", passwd), ("group", group)):
        text = Path("/etc", name).read_text()
        kept = [line for line in text.splitlines(True) if line.partition(":")[0] not in users]
        (folder / name).write_text("".join([*lines, *kept]))
    (folder / "resolv.conf").write_text("lookup file\n")
    if prepare:
        (folder / "prepare").write_text(f"set -e\n{prepare}")
    return [need("unshare"), "-m", "sh", "-c", SCRIPT, "sh", folder, *empty, "--", *command]
