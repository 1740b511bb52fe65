"""OpenSMTPD (smtpd.conf(5)), whose spool, socket and users are compiled in.

It runs in a mount namespace in which they exist.
"""

import shutil
from pathlib import Path

from tests.support.e2e.programs import need
from tests.support.real_servers.namespace import enter
from tests.support.real_servers.process import FAR_DOMAIN, HOST, OWNER, RealServer, need_server
from tests.support.tls_material import Issued

USERS = {"opensmtpd": 64998, "opensmtpq": 64997, "box": OWNER}
CONFIGURATION = """\
{pki}
smtp max-message-size "50M"
listen on {host} port {port} hostname mx.{domain} {tls}
table boxes {{ "@{domain}" = "box" }}
table owners {{ "box" = "{owner}:{owner}:{folder}/mail" }}
action box maildir "{folder}/mail/box" virtual <boxes> userbase <owners>
action us relay host smtp://{host}:{us}
match from any for domain "{domain}" action box
match from any for any action us
"""
PREPARE = """\
mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty /usr/libexec/opensmtpd
chmod 711 /var/spool/smtpd
cp -a {helpers}/. /usr/libexec/opensmtpd/
"""


class OpenSMTPD(RealServer):
    """Offers what it can, STARTTLS if it has a ``certificate``."""

    def __init__(self, *, certificate: Issued | None = None) -> None:
        self._program = need_server("smtpd", "opensmtpd")
        need("unshare")
        super().__init__()
        self._certificate = certificate

    def command(self) -> list[str | Path]:
        """See :class:`RealServer`."""
        pki = tls = ""
        if self._certificate is not None:
            for name, source in (("cert", "certificate"), ("key", "private_key")):
                copy = self.folder / f"{name}.pem"
                copy.write_bytes(getattr(self._certificate, source).read_bytes())
                copy.chmod(0o600)
            pki = f'pki far cert "{self.folder}/cert.pem"\npki far key "{self.folder}/key.pem"'
            tls = "tls pki far"
        file = self.folder / "smtpd.conf"
        file.write_text(
            CONFIGURATION.format(
                pki=pki, tls=tls, host=HOST, port=self.port, domain=FAR_DOMAIN, owner=OWNER, us=self.us,
                folder=self.folder,
            )
        )  # fmt: skip
        file.chmod(0o600)
        self.mail.chmod(0o777)
        usr = self._program.parents[1]
        helpers = next(
            (path for path in (usr / "libexec/opensmtpd", usr / "lib/opensmtpd") if path.is_dir()),
            usr / "libexec/opensmtpd",
        )
        empty = ["/run", "/var/spool", "/var/lib", "/usr/libexec"]
        prepare = PREPARE.format(helpers=self.folder / "helpers")
        shutil.copytree(helpers, self.folder / "helpers", symlinks=True)
        return enter(self.folder, USERS, empty, self._program, "-d", "-f", file, prepare=prepare)
