"""Exim 4 (its specification, chapters 14 on), which Debian does not let stand beside Postfix.

It runs in a mount namespace in which its user exists.
"""

import os
from pathlib import Path

from tests.support.e2e.programs import need
from tests.support.real_servers.namespace import enter
from tests.support.real_servers.process import FAR_DOMAIN, HOST, OWNER, RealServer, need_server
from tests.support.tls_material import Issued

USER = "Debian-exim"  # compiled in
CONFIGURATION = """\
exim_path = {program}
primary_hostname = mx.{domain}
domainlist local_domains = {domain}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
local_interfaces = {host}
daemon_smtp_ports = {port}
pid_file_path = {folder}/exim.pid
deliver_drop_privilege
never_users =
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = *
{tls}
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
boxes:
  driver = accept
  domains = +local_domains
  transport = box
us:
  driver = manualroute
  domains = ! +local_domains
  route_list = * {host}
  self = send
  transport = out
begin transports
box:
  driver = appendfile
  directory = {folder}/mail/box
  maildir_format
out:
  driver = smtp
  port = {us}
  allow_localhost
  hosts_try_fastopen =
  tls_verify_hosts =
  tls_try_verify_hosts =
"""


class Exim(RealServer):
    """Offers what it can, STARTTLS if it has a ``certificate``."""

    def __init__(self, *, certificate: Issued | None = None) -> None:
        self._program = need_server("exim4", "exim4-daemon-light")
        need("unshare")
        super().__init__()
        self._certificate = certificate

    def command(self) -> list[str | Path]:
        """See :class:`RealServer`."""
        for name in ("spool", "log"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, OWNER, OWNER)
        self.mail.chmod(0o777)
        tls = "tls_advertise_hosts ="
        if self._certificate is not None:
            key = self.folder / "key.pem"
            key.write_bytes(self._certificate.private_key.read_bytes())
            key.chmod(0o600)
            os.chown(key, OWNER, OWNER)
            certificate = self.folder / "certificate.pem"
            certificate.write_bytes(self._certificate.certificate.read_bytes())
            tls = f"tls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {key}"
        file = self.folder / "exim.conf"
        file.write_text(
            CONFIGURATION.format(
                program=self._program, domain=FAR_DOMAIN, folder=self.folder, host=HOST, port=self.port,
                us=self.us, tls=tls,
            )
        )  # fmt: skip
        return enter(self.folder, {USER: OWNER}, [], self._program, "-C", file, "-bdf", "-q1m")
