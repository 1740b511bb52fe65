"""Postfix for SMTP and Dovecot for POP3, beside those that the system may run: configuration, start, end.

Every file of theirs, queue and sockets included, is in the benchmark's folder. Settings are the defaults but
for addresses, limits, and logs; the tuned pair has those for speed that Dovecot's documentation names.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from .servers import DOMAIN, HOST, PASSWORD, Server

SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
OWNER = 5000  # of the mailboxes, user and group; it needs no name
CONNECTIONS = 1000  # that smtpd may have open, for the idle ones

MASTER = """\
{host}:{port} inet n - n - {connections} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

DOVECOT = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
listen = {host}
protocols = pop3 lmtp
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={folder}/mail/%n allow_all_users=yes
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
"""

# "High-performance mode" for logins, processes that serve many sessions, and answers of auth kept
TUNED = """\
auth_cache_size = 1M
service pop3-login {
  service_count = 0
  process_min_avail = 2
}
service pop3 {
  service_count = 0
  client_limit = 50
  process_min_avail = 2
}
service lmtp {
  process_min_avail = 2
}
maildir_very_dirty_syncs = yes
"""


def program(name: str) -> str | None:
    """The path of a program, also one for administrators."""
    return shutil.which(name, path=SEARCH)


def _says(*command: str) -> str:
    done = subprocess.run([program(command[0]) or command[0], *command[1:]], capture_output=True, text=True)
    return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class PostfixDovecot(Server):
    """Postfix delivers into the Maildirs by its virtual(8)."""

    name = "postfix-dovecot"
    title = "Postfix + Dovecot"
    transport = "virtual"
    tuning = ""
    postfix: subprocess.Popen[bytes] | None = None

    @classmethod
    def obstacle(cls) -> str | None:
        for name, package in (("postfix", "postfix"), ("dovecot", "dovecot-pop3d and dovecot-lmtpd")):
            if program(name) is None:
                return f"{name} is not installed (Debian package {package})"
        if os.geteuid() != 0:
            return "it must be started by root"
        if not _says("dovecot", "--version").startswith("2.3."):
            return "its configuration is for Dovecot 2.3"
        return None

    @classmethod
    def version(cls) -> str:
        dovecot = _says("dovecot", "--version").split()[0]
        return f"Postfix {_says('postconf', '-d', '-h', 'mail_version')}, Dovecot {dovecot}"

    def start(self) -> None:
        self.smtp, self.pop3 = (HOST, _free_port()), (HOST, _free_port())
        for name, owner in (("etc", 0), ("spool", 0), ("mail", OWNER), ("dovecot", 0), ("state", 0)):
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, owner, owner)
        shutil.chown(self.folder / "state", "postfix", "postfix")
        self.write_postfix()
        text = DOVECOT.format(
            folder=self.folder, host=HOST, port=self.pop3[1], owner=OWNER, password=PASSWORD
        )
        (self.folder / "dovecot.conf").write_text(text + self.tuning)
        self.spawn(program("dovecot") or "dovecot", "-F", "-c", str(self.folder / "dovecot.conf"))
        self.postfix = self.spawn(program("postfix") or "postfix", "-c", str(self.folder / "etc"), "start-fg")
        self.wait_for_greetings()

    def write_postfix(self) -> None:
        etc = self.folder / "etc"
        settings: dict[str, object] = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "spool",
            "data_directory": self.folder / "state",
            "maillog_file": self.folder / "mail.log",
            "maillog_file_prefixes": self.folder,
            "inet_interfaces": HOST,
            "inet_protocols": "ipv4",
            "myhostname": f"mail.{DOMAIN}",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "local_recipient_maps": "",
            "alias_maps": "",
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_base": self.folder / "mail",
            "virtual_mailbox_maps": f"texthash:{etc}/mailboxes",
            "virtual_uid_maps": f"static:{OWNER}",
            "virtual_gid_maps": f"static:{OWNER}",
            "virtual_transport": self.transport.format(folder=self.folder),
            "message_size_limit": 50 * 1024 * 1024,
            "mailbox_size_limit": 0,
            "virtual_mailbox_limit": 0,
        }
        (etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (etc / "master.cf").write_text(MASTER.format(host=HOST, port=self.smtp[1], connections=CONNECTIONS))
        (etc / "mailboxes").write_text("".join(f"{user}@{DOMAIN} {user}/\n" for user in self.users))

    def asked_to_end(self, process: subprocess.Popen[bytes]) -> int:
        # "postfix start-fg" is a shell that waits for master(8), and ends when that ends
        pid_file = self.folder / "spool" / "pid" / "master.pid"
        if process is self.postfix and pid_file.exists():
            return int(pid_file.read_text())
        return process.pid

    def maildir(self, user: str) -> Path:
        return self.folder / "mail" / user


class TunedPostfixDovecot(PostfixDovecot):
    """Dovecot delivers, by LMTP, and keeps its indexes while it does; its processes are not thrown away."""

    name = "postfix-dovecot-tuned"
    title = "the same, tuned"
    transport = "lmtp:unix:{folder}/dovecot/lmtp"
    tuning = TUNED
