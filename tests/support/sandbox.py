"""A machine in namespaces where the service of our unit runs as systemd would run it, without systemd.

The blocks of docs/systemd.md set it up. From the unit come: ProtectSystem=strict, ProtectHome=, PrivateTmp=,
PrivateDevices=, ProtectProc=, ProtectKernelTunables=, ProtectControlGroups=, the directories, credentials,
capabilities, NoNewPrivileges=, UMask=, LimitNOFILE=, the notification socket, and the filters of system calls
(:mod:`tests.support.seccomp`).

Not covered: DevicePolicy=, KeyringMode=, RemoveIPC=, ProtectClock=, ProtectKernelLogs=, ProtectKernelModules=
and ProtectHostname= beyond the capabilities that they take away, and what systemd does later: restarts,
timeouts, and the end of a server that the watchdog does not hear.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.docs.blocks import Block
from tests.support.e2e.programs import missing, need
from tests.support.seccomp import options
from tests.support.systemd import NotifySocket
from tests.support.tls_material import Issued

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc"
OPT = "/opt/mailserver"
UNIT = "/etc/systemd/system/mailserver.service"
LINEAGE = "/etc/letsencrypt/live/mail.example.org"
CREDENTIALS = "/run/credentials/mailserver.service"
HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/dev/shm", "/opt", "/var/lib", "/run")
PROGRAMS = (
    *("systemd-analyze", "systemd-socket-activate", "systemd-sysusers", "systemd-tmpfiles"),
    *("unshare", "nsenter", "setpriv", "prlimit", "ip"),
)
# $1: the folder of the test; $2: what is /opt/mailserver; the rest: what the server needs of hidden folders.
PREPARE = f"""
folder=$1 prefix=$2
shift 2
exec 3>&1 >&2
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir /mnt/folder /mnt/etc /mnt/dev
mount --bind "$folder" /mnt/folder
number=0
for path in "$@"; do
    number=$((number + 1))
    mkdir /mnt/$number
    mount --bind "$path" /mnt/$number
done
cp -a /etc/. /mnt/etc
mount --bind /mnt/etc /etc
for path in {" ".join(HIDDEN)}; do mount -t tmpfs -o mode=755 none "$path"; done
chmod 1777 /tmp /var/tmp
number=0
for path in "$@"; do
    number=$((number + 1))
    mkdir -p "$path"
    mount --bind /mnt/$number "$path"
done
mkdir -p {OPT}/share
ln -s "$prefix/bin" {OPT}/bin
ln -s {ETC} {OPT}/share/mailserver
ip link set lo up

install -d -m 700 {LINEAGE}
cp /mnt/folder/*.pem {LINEAGE}
bash -euo pipefail /mnt/folder/script
install -d -o mailserver -g mailserver /run/mailserver
install -d -m 500 -o mailserver {CREDENTIALS}
for credential in $(sed -n 's/^LoadCredential=//p' {UNIT}.d/*.conf); do
    install -m 400 -o mailserver "${{credential#*:}}" "{CREDENTIALS}/${{credential%%:*}}"
done
mkdir /run/systemd
touch /run/systemd/notify
mount --bind /mnt/folder/notify /run/systemd/notify

for name in null zero full random urandom tty; do
    touch /mnt/dev/$name
    mount --bind /dev/$name /mnt/dev/$name
done
mount --rbind /mnt/dev /dev
mount -t proc -o hidepid=invisible,nosuid,nodev,noexec proc /proc
mount --bind /proc/sys /proc/sys
for path in /var/lib/mailserver /run/mailserver; do mount --bind $path $path; done
umount --recursive --lazy /mnt
for path in $(awk '{{ print $5 }}' /proc/self/mountinfo | tac); do
    case $path in
        /proc | /tmp | /var/tmp | /dev/* | /var/lib/mailserver | /run/mailserver) ;;
        *) mount -o remount,bind,ro "$path" ;;
    esac
done
echo ready >&3
exec sleep infinity 3>&-
"""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "USER": "mailserver",
    "LOGNAME": "mailserver",
    "HOME": "/var/lib/mailserver",
    "STATE_DIRECTORY": "/var/lib/mailserver",
    "RUNTIME_DIRECTORY": "/run/mailserver",
    "CREDENTIALS_DIRECTORY": CREDENTIALS,
    "NOTIFY_SOCKET": "/run/systemd/notify",
}


class Sandbox:
    """The machine. ``folder`` is outside of it, and holds what the set-up needs."""

    def __init__(self, folder: Path, page: Sequence[Block], certificate: Issued) -> None:
        """Carry out the blocks of ``page`` as root; those of TOML are the configuration. ``certificate`` is
        where certbot would put it."""
        for program in PROGRAMS:
            need(program)
        if not Path(sys.executable).with_name("twistd").exists():
            missing("the unit needs twistd, which shows the plugin where the project is installed")
        self.folder = folder
        self.unit = options(ETC / "mailserver.service")
        self.systemd = NotifySocket(folder / "notify")
        (folder / "notify").chmod(0o666)
        certificate.put(folder / "fullchain.pem", folder / "privkey.pem")
        (folder / "script").write_text("\n".join(["systemctl() { :; }", *map(_carried_out, page)]))
        self.log = (folder / "log").open("w+")
        words = ["unshare", "--mount", "--net", "bash", "-ec", PREPARE, "prepare", str(folder), sys.prefix]
        words += _hidden(Path(sys.prefix), Path(sys.base_prefix), ROOT)
        with (folder / "setup").open("w") as log:
            self.holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n", (folder / "setup").read_text()
        self.service: subprocess.Popen[bytes] | None = None

    def _inside(self, *command: str) -> list[str]:
        enter = ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--wd=/"]
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return [*enter, "env", "--ignore-environment", *environment, *command]

    def confined(self, *command: str) -> list[str]:
        """A command of the service, as systemd runs it."""
        unit = {name: values[0] for name, values in self.unit.items()}
        assert unit["NoNewPrivileges"] == "yes"
        bounding, ambient = (
            ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in unit[key].split())
            for key in ("CapabilityBoundingSet", "AmbientCapabilities")
        )
        files = min(int(unit["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        words = (
            f"prlimit --nofile={files}:{files} "
            f"setpriv --reuid={unit['User']} --regid={unit['Group']} --clear-groups --no-new-privs "
            f"--bounding-set=-all,{bounding} --inh-caps=-all,{ambient} --ambient-caps=-all,{ambient} "
            f"{sys.executable} {ROOT}/tests/support/seccomp.py {ETC}/mailserver.service"
        ).split()
        return self._inside("sh", "-c", f'umask {unit["UMask"]}; exec "$@"', "sh", *words, *command)

    def run(self, *command: str, confined: bool = False, status: int = 0) -> str:
        """Run a command of root, or one of the service; what it prints."""
        words = self.confined(*command) if confined else self._inside(*command)
        pipe, joined = subprocess.PIPE, subprocess.STDOUT
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=joined, text=True, timeout=120
        )
        assert done.returncode == status, f"{command}\n{done.returncode}\n{done.stdout}\n{self.said()}"
        return done.stdout

    def start(self, *, sockets: bool = False) -> None:
        """ExecStart=. With ``sockets`` it is started by the first client of one of the ports."""
        [command] = self.unit["ExecStart"]
        words = self.confined(*command.split())
        if sockets:
            activate = ["systemd-socket-activate", *(f"-E{name}" for name in ENVIRONMENT)]
            ports = options(ETC / "mailserver.socket")["ListenStream"]
            # By default a socket has the name of its unit.
            activate += [f"--fdname={':'.join(['mailserver.socket'] * len(ports))}"]
            activate += [f"--listen={port}" for port in ports]
            begin = words.index("sh")
            words = [*words[:begin], *activate, *words[begin:]]
        self.service = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def said(self) -> str:
        """The log of the service so far."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def close(self) -> None:
        """End what runs."""
        if self.service is not None and self.service.poll() is None:
            self.service.kill()
            self.service.wait()
        self.holder.kill()
        self.holder.wait()
        if self.holder.stdout is not None:
            self.holder.stdout.close()
        self.log.close()
        self.systemd.close()


def _hidden(*folders: Path) -> list[str]:
    """Those of the folders that the set-up hides. One within another comes with that."""
    hidden = {folder for folder in folders if any(folder.is_relative_to(one) for one in HIDDEN)}
    return [str(one) for one in sorted(hidden) if hidden.isdisjoint(one.parents)]


def _carried_out(block: Block) -> str:
    """What a reader of the page does, as a script."""
    if block.kind == "toml":
        return f"cat > /etc/mailserver/mailserver.toml <<'TOML'\n{block.text}TOML"
    assert block.kind == "sh"
    return block.text
