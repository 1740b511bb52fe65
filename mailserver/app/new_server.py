"""Makes a new server for ``mailserver init``: its configuration, data directory, first account and keys.

All or nothing: a failure removes what was made, and nothing that exists is changed.
"""

import grp
import os
import pwd
import socket
import time
from pathlib import Path
from typing import NamedTuple

import attrs

from mailserver.app.data import data_lock, open_format
from mailserver.app.offline import PREPARE
from mailserver.config.keys.dkim import DkimSection
from mailserver.config.keys.listen import Protocol, TlsMode
from mailserver.config.schema.endpoints import endpoint_for
from mailserver.config.starter import StarterConfig, StarterListener
from mailserver.durable.creation import Creation, Owner
from mailserver.durable.disk import Disk
from mailserver.mail.address import Address
from mailserver.net.pairs import PairFiles, Unusable, read_authorities, read_pair
from mailserver.policy.dkim.keys import KeyKind, make_key, write_pem

CONFIG_NAME, KEYS = "mailserver.toml", "dkim"
KINDS: tuple[KeyKind, ...] = ("rsa", "ed25519")


class ListenPorts(NamedTuple):
    """The TCP ports of a new server. Port 0 selects a free port at each start."""

    smtp: int
    submissions: int
    submission: int
    pop3s: int
    pop3: int


STANDARD_PORTS = ListenPorts(25, 465, 587, 995, 110)
HIGH_PORTS = ListenPorts(2525, 2465, 2587, 2995, 2110)
_LISTENERS: tuple[tuple[Protocol, TlsMode], ...] = (
    ("smtp", "starttls"),
    ("submission", "implicit"),
    ("submission", "starttls"),
    ("pop3", "implicit"),
    ("pop3", "starttls"),
)


class ServerUser(NamedTuple):
    """The user who runs the server: its name, number and groups, the first of which owns its files."""

    name: str
    uid: int
    groups: tuple[int, ...]

    @classmethod
    def find(cls, name: str) -> "ServerUser":
        """Raises KeyError if there is no such user."""
        found = pwd.getpwnam(name)
        more = [one.gr_gid for one in grp.getgrall() if name in one.gr_mem and one.gr_gid != found.pw_gid]
        return cls(name, found.pw_uid, (found.pw_gid, *more))

    @property
    def owner(self) -> Owner:
        """The owner of its files."""
        return self.uid, self.groups[0]

    def may_read(self, path: Path) -> bool:
        """Whether the modes let the user read a file, and enter all folders above it. Raises OSError."""
        path = path.resolve()
        return self._may(path, 4) and all(self._may(folder, 1) for folder in path.parents)

    def _may(self, path: Path, bit: int) -> bool:
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        return bool(status.st_mode >> shift & bit)


@attrs.frozen(kw_only=True)
class NewServer:
    """What is made.

    ``folder``: the folder of the configuration and the keys. ``data``: the data directory; a relative path
    starts at ``folder``. ``certificate``: the files of the certificate and of its key; None if the server
    makes one. ``host``: the IP address to listen on, "" for all. ``user``: the owner of the data, if root
    makes it for another user.
    """

    folder: Path
    data: Path
    hostname: str
    domain: str
    account: Address
    password: str = attrs.field(repr=False)
    certificate: tuple[Path, Path] | None
    host: str
    ports: ListenPorts
    user: ServerUser | None

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / CONFIG_NAME

    def make(self, disk: Disk) -> None:
        """Make everything. Blocks.

        Raises ``OSError``, with ``FileExistsError`` for a name that exists, and
        :class:`~mailserver.errors.MailserverError`.
        """
        selector = time.strftime("%Y%m")
        keys = {
            kind: DkimSection(
                domain=self.domain,
                selector=f"{selector}-{kind}",
                key=Path(KEYS, f"{self.domain}-{selector}-{kind}.pem"),
            )
            for kind in KINDS
        }
        data, folder = self.folder / self.data, self.folder / KEYS
        with Creation(disk) as creation:
            made = creation.folder(self.folder)
            creation.file(self.config, self._starter(tuple(keys.values())).text().encode())
            creation.empty_folder(data)
            open_format(data, disk)
            creation.folder(folder)
            for kind, section in keys.items():
                creation.file(self.folder / section.key, write_pem(make_key(kind)))
            self._add_account(data)
            if self.user is not None:
                creation.give(data, self.user.owner)
                for path in (folder, *(self.folder / section.key for section in keys.values())):
                    creation.give(path, self.user.owner)
                for path in (self.config, *([self.folder] if made else [])):
                    creation.share(path, self.user.groups[0])

    def _starter(self, keys: tuple[DkimSection, ...]) -> StarterConfig:
        listeners = [
            StarterListener(protocol, endpoint_for(self.host, port), tls)
            for (protocol, tls), port in zip(_LISTENERS, self.ports, strict=True)
        ]
        return StarterConfig(
            hostname=self.hostname,
            domain=self.domain,
            data=self.data,
            account=self.account,
            listeners=listeners,
            certificate=self.certificate,
            dkim=keys,
            allow_root=self.user is None and os.geteuid() == 0,
        )

    def _add_account(self, data: Path) -> None:
        request = {
            "command": "account add",
            "config": str(self.config),
            "address": str(self.account),
            "password": self.password,
        }
        add = PREPARE["account add"](data, request)
        with data_lock(data):
            add()


# ------------------------------------------------------------ checks of the answers


def certificate_problem(certificate: Path, private_key: Path | None = None) -> str | None:
    """Why TLS cannot use a certificate, with its key if that is given; None if it can."""
    try:
        if private_key is None:
            read_authorities("", certificate)
        else:
            read_pair(PairFiles("", certificate, private_key))
    except Unusable as error:
        return "; ".join(text for _, text in error.problems)
    return None


def all_addresses() -> str:
    """The address that stands for all addresses of this machine, of both versions of IP if it has IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return "0.0.0.0"
    return "::"


def port_problem(host: str, port: int) -> str | None:
    """Why this user cannot listen on a port of an IP address; None if that is possible."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"cannot listen on port {port} of {host}: {error.strerror}"
    return None


def free_port(host: str) -> int:
    """A port of an IP address that is free now. Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
