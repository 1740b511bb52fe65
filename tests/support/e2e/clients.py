"""Client programs that log in under TLS: a function runs one, and returns its output and its messages."""

from pathlib import Path
from urllib.parse import quote

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import Account

TLS = ("starttls", "implicit")
STARTTLS = {"starttls": "on", "implicit": "off"}
CURL_SMTP = {"starttls": "smtp", "implicit": "smtps"}
CURL_POP3 = {"starttls": "pop3", "implicit": "pop3s"}
FETCHMAIL_TLS = {"starttls": 'sslproto "TLS1.2+"', "implicit": "ssl"}
MUTT_SMTP = {"starttls": "smtp", "implicit": "smtps"}
MUTT_POP3 = {"starttls": "pop", "implicit": "pops"}
LOGIN_DENIED = 67  # of curl


def curl_send(
    home: Path, account: Account, tls: str, *options: str | Path, sender: str = "", status: int = 0
) -> str:
    """Submit a message from the account to itself; what curl says."""
    file = home / "message"
    file.write_bytes(MESSAGES["plain"])
    url = f"{CURL_SMTP[tls]}://127.0.0.1:{account.port('submission', tls)}/client.example"
    command = [need("curl"), "-sS", "-v", url, "--ssl-reqd", "--cacert", account.ca, *options]
    mail = ["--mail-from", sender or account.address, "--mail-rcpt", account.address, "--upload-file", file]
    return run(home, *command, *mail, status=status).stderr.decode(errors="replace")


def curl_fetch(home: Path, account: Account, tls: str, *options: str | Path, status: int = 0) -> bytes:
    """The first message."""
    url = f"{CURL_POP3[tls]}://127.0.0.1:{account.port('pop3', tls)}/1"
    command = [need("curl"), "-sS", url, "--ssl-reqd", "--cacert", account.ca, *options]
    return run(home, *command, status=status).stdout


def fetchmail(
    home: Path,
    account: Account,
    tls: str,
    way: str = "",
    options: str = "",
    ca: Path | None = None,
    password: str = "",
    status: int = 0,
) -> tuple[str, list[bytes]]:
    """What it says, and the messages it has by now; ``way`` is for the server, ``options`` for the user."""
    got = home / "got"
    got.mkdir(exist_ok=True)
    agent = home / "agent"
    agent.write_text('#!/bin/sh\nnumber=$(ls "$1" | wc -l)\ncat > "$1/$((number + 1000))"\n')
    agent.chmod(0o700)
    settings = home / "fetchmailrc"
    settings.write_text(
        f"poll 127.0.0.1 service {account.port('pop3', tls)} {way or 'protocol pop3'}\n"
        f'user "{account.address}" password "{password or account.password}" '
        f"{options or FETCHMAIL_TLS[tls]}\n"
        f'sslcertck sslcertfile "{ca or account.ca}" sslcommonname "{HOSTNAME}" mda "{agent} {got}"\n'
    )
    settings.chmod(0o600)
    command = [need("fetchmail"), "-v", "-v", "-f", settings, "--pidfile", home / "pid", "--nosyslog"]
    keep = ["--keep", "--invisible", "--norewrite"]
    done = run(home, *command, *keep, env={"FETCHMAILHOME": str(home)}, status=status)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return said, [file.read_bytes() for file in sorted(got.iterdir())]


def mpop(
    home: Path, account: Account, tls: str, mechanism: str, *more: str, password: str = "", status: int = 0
) -> tuple[str, list[bytes]]:
    """Fetch; what mpop says, and the messages it has by now. ``more`` are settings."""
    folder = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if mechanism in ("oauthbearer", "xoauth2"):
        password = password or account.token()
    settings = [
        "account default",
        "host 127.0.0.1",
        f"port {account.port('pop3', tls)}",
        f"user {account.address}",
        f'password "{password or account.password}"',
        f"auth {mechanism}",
        f"tls {'off' if 'tls off' in more else 'on'}",
        f"tls_starttls {STARTTLS[tls]}",
        f"tls_trust_file {account.ca}",
        "received_header off",
        f"uidls_file {home}/uidls",
        f"delivery maildir {folder}",
        *more,
    ]
    if mechanism == "external":
        shown = account.certificate()
        settings += [f"tls_cert_file {shown.certificate}", f"tls_key_file {shown.private_key}"]
    file = home / "mpoprc"
    file.write_text("\n".join([*settings, ""]))
    file.chmod(0o600)
    done = run(home, need("mpop"), f"--file={file}", "--debug", "--keep=on", status=status)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return said, sorted(one.read_bytes() for one in (folder / "new").iterdir())


def msmtp(
    home: Path,
    account: Account,
    tls: str,
    mechanism: str,
    password: str = "",
    *options: str,
    status: int = 0,
) -> str:
    """Submit a message from the account to itself; what msmtp says."""
    if mechanism in ("oauthbearer", "xoauth2"):
        password = password or account.token()
    settings = [
        "account default",
        "host 127.0.0.1",
        f"port {account.port('submission', tls)}",
        f"from {account.address}",
        f"user {account.address}",
        f'password "{password or account.password}"',
        f"auth {mechanism}",
        "tls on",
        f"tls_starttls {STARTTLS[tls]}",
        f"tls_trust_file {account.ca}",
    ]
    if mechanism == "external":
        shown = account.certificate()
        settings += [f"tls_cert_file {shown.certificate}", f"tls_key_file {shown.private_key}"]
    file = home / "msmtprc"
    file.write_text("\n".join([*settings, ""]))
    file.chmod(0o600)
    command = [need("msmtp"), f"--file={file}", "--debug", *options, "--", account.address]
    done = run(home, *command, input=unix(MESSAGES["plain"]), status=status)
    return (done.stdout + done.stderr).decode(errors="replace")


MUTT_SETTINGS = """
set ssl_force_tls=yes ssl_starttls=yes ssl_ca_certificates_file="{ca}"
set certificate_file="{home}/none" from="{address}" realname="Somebody" use_envelope_from=yes
set smtp_url="{smtp}://{user}@127.0.0.1:{smtp_port}" smtp_pass="{password}" smtp_authenticators="{way}"
set pop_user="{address}" pop_pass="{password}" pop_authenticators="{way}" pop_delete=no pop_checkinterval=0
set pop_reconnect=no copy=no message_cachedir="" header_cache=""
"""


def mutt_settings(home: Path, account: Account, tls: str, way: str, ca: Path | None = None) -> str:
    """Those for an account."""
    return MUTT_SETTINGS.format(
        ca=ca or account.ca,
        home=home,
        address=account.address,
        user=quote(account.address, safe=""),
        password=account.password,
        smtp=MUTT_SMTP[tls],
        smtp_port=account.port("submission", tls),
        way=way,
    )


def mutt_send(
    home: Path, account: Account, tls: str, way: str, ca: Path | None = None, status: int = 0
) -> str:
    """Send a message with an attachment from the account to itself; what mutt says."""
    file = home / "muttrc"
    file.write_text(mutt_settings(home, account, tls, way, ca))
    attached = home / "data.bin"
    attached.write_bytes(bytes(range(256)) * 256)
    command = [need("mutt"), "-n", "-F", file, "-s", "by mutt", "-a", attached, "--", account.address]
    done = run(home, *command, input="Grüße\n.\n".encode(), status=status)
    return (done.stdout + done.stderr).decode(errors="replace")
