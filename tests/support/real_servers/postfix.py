"""Postfix (postconf(5), master(5)), and Dovecot for its logins."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.e2e.programs import need
from tests.support.e2e.server import wait_until
from tests.support.real_servers.process import (
    BOX,
    FAR_DOMAIN,
    HOST,
    OWNER,
    START_SECONDS,
    RealServer,
    need_server,
)
from tests.support.tls_material import Issued

MASTER = """\
{host}:{port} inet n - n - - smtpd{implicit}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

DOVECOT = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
protocols =
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/passwords
}}
service auth {{
  unix_listener auth-postfix {{
    mode = 0666
  }}
}}
"""


class Postfix(RealServer):
    """Offers what it can, STARTTLS if it has a ``certificate``.

    ``users`` may log in by the ``mechanisms`` (names of Dovecot), and then nobody else may send at all;
    ``implicit`` is TLS from the first octet. ``settings`` are other ones of main.cf.
    """

    def __init__(
        self,
        *,
        certificate: Issued | None = None,
        users: Mapping[str, str] = {},
        mechanisms: Sequence[str] = ("plain",),
        implicit: bool = False,
        settings: Mapping[str, object] = {},
    ) -> None:
        self._program = need_server("postfix", "postfix")
        super().__init__()
        self._certificate = certificate
        self._users = users
        self._mechanisms = mechanisms
        self._implicit = implicit
        self._settings = settings
        self._dovecot: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str | Path]:
        """See :class:`RealServer`."""
        for name in ("etc", "spool", "state"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "state", "postfix", "postfix")
        etc, mail = self.folder / "etc", self.mail
        settings: dict[str, object] = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "spool",
            "data_directory": self.folder / "state",
            "maillog_file": self.folder / "mail.log",
            "maillog_file_prefixes": self.folder,
            "inet_interfaces": HOST,
            "inet_protocols": "ipv4",
            "myhostname": f"mx.{FAR_DOMAIN}",
            "mydestination": "",
            "local_recipient_maps": "",
            "alias_maps": "",
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "virtual_mailbox_domains": FAR_DOMAIN,
            "virtual_mailbox_base": mail,
            "virtual_mailbox_maps": f"regexp:{etc}/mailboxes",
            "virtual_uid_maps": f"static:{OWNER}",
            "virtual_gid_maps": f"static:{OWNER}",
            "virtual_minimum_uid": 1,
            "relayhost": f"[{HOST}]:{self.us}",
            "disable_dns_lookups": "yes",
            "smtp_tls_security_level": "may",
            "smtp_address_preference": "ipv4",
            "notify_classes": "",
            **self._tls(),
            **self._logins(),
            **self._settings,
        }
        (etc / "mailboxes").write_text(f"/@{FAR_DOMAIN}$/ {BOX}/\n")
        (etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        implicit = " -o smtpd_tls_wrappermode=yes" if self._implicit else ""
        (etc / "master.cf").write_text(MASTER.format(host=HOST, port=self.port, implicit=implicit))
        return [self._program, "-c", etc, "start-fg"]

    def _tls(self) -> dict[str, object]:
        if self._certificate is None:
            return {}
        return {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": self._certificate.certificate,
            "smtpd_tls_key_file": self._certificate.private_key,
            "smtpd_tls_received_header": "yes",
        }

    def _logins(self) -> dict[str, object]:
        if not self._users:
            return {}
        (self.folder / "dovecot").mkdir()
        lines = [f"{user}:{{PLAIN}}{password}\n" for user, password in self._users.items()]
        (self.folder / "passwords").write_text("".join(lines))
        text = DOVECOT.format(folder=self.folder, mechanisms=" ".join(self._mechanisms))
        (self.folder / "dovecot.conf").write_text(text)
        return {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": self.folder / "dovecot" / "auth-postfix",
            "smtpd_sasl_authenticated_header": "yes",
            "smtpd_tls_auth_only": "yes" if self._certificate else "no",
            "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_delay_reject": "yes",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        }

    def start(self, us: int) -> None:
        super().start(us)
        if not self._users:
            return
        with (self.folder / "dovecot.output.log").open("ab") as log:
            self._dovecot = subprocess.Popen(
                [need("dovecot"), "-F", "-c", self.folder / "dovecot.conf"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until((self.folder / "dovecot" / "auth-postfix").exists, "Dovecot's socket", START_SECONDS)

    def _greets(self) -> bool:
        if not self._implicit:
            return super()._greets()
        return "daemon started" in self.log

    def main_process(self, process: "subprocess.Popen[bytes]") -> int:
        """``postfix start-fg`` is a shell that waits for master(8), and ends when that ends."""
        pid_file = self.folder / "spool" / "pid" / "master.pid"
        return int(pid_file.read_text()) if pid_file.exists() else process.pid

    def stop(self) -> None:
        if self._dovecot is not None:
            self._dovecot.terminate()
            self._dovecot.wait(15)
        super().stop()
