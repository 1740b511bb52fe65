"""Dovecot with POP3 or IMAP on a free port, over the Maildirs of one user (dovecot.conf(5))."""

import poplib
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.support.e2e.programs import need
from tests.support.real_servers.process import HOST, OWNER, RealServer

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = {protocol}
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~
first_valid_uid = 1
service {protocol}-login {{
  chroot =
  inet_listener {protocol} {{
    address = {host}
    port = {port}
  }}
  inet_listener {protocol}s {{
    port = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
"""


class DovecotServer(RealServer):
    """Serves the Maildirs in :attr:`mail`, which belong to :data:`OWNER`, to ``users``: passwords by name.

    ``configuration`` replaces the text of the configuration file, ``more`` is added to it.
    """

    def __init__(
        self, users: Mapping[str, str], protocol: str = "pop3", *, more: str = "", configuration: str = ""
    ) -> None:
        need("dovecot")
        need(f"/usr/lib/dovecot/{protocol}")
        super().__init__()
        self._users = users
        self._protocol = protocol
        self._text = (configuration or CONFIGURATION) + more

    def box(self, name: str) -> Path:
        """The Maildir of a user."""
        return self.mail / name

    def command(self) -> list[str | Path]:
        """See :class:`RealServer`."""
        lines = [
            f"{name}:{{PLAIN}}{password}:{OWNER}:{OWNER}::{self.box(name.partition('@')[0])}::\n"
            for name, password in self._users.items()
        ]
        (self.folder / "users").write_text("".join(lines))
        config = self.folder / "dovecot.conf"
        places = {"folder": self.folder, "protocol": self._protocol, "host": HOST, "port": self.port}
        config.write_text(self._text.format(**places))
        return [need("dovecot"), "-F", "-c", config]

    def _greets(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log
        try:
            if self._protocol == "pop3":
                with closing(poplib.POP3(HOST, self.port, timeout=10)) as client:
                    return client.getwelcome().startswith(b"+OK")
            with socket.create_connection((HOST, self.port), timeout=10) as connection:
                return connection.recv(100).startswith(b"* OK")
        except (OSError, poplib.error_proto):
            return False
