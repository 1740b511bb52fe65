"""Client programs that send and read: one function runs one program, with or without TLS, and by any login.

``tls`` is "starttls", "implicit" or "" for none. ``way`` is "user", "apop" or a mechanism in small letters;
"on" leaves the choice to the client, "" is no login. ``password`` and ``ca`` are the right ones by default.
"""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.mutt import mutt_read, mutt_send
from tests.support.e2e.programs import SCRIPTS, Ran, client, need, need_perl, run
from tests.support.e2e.secured import Account

TLS = ("starttls", "implicit")
TOKENS = ("oauthbearer", "xoauth2")


def secret(account: Mailbox, way: str, password: str) -> str:
    """What proves who it is."""
    if way in TOKENS and not password:
        assert isinstance(account, Account)
        return account.token()
    return password or account.password


def write_settings(path: Path, *lines: str) -> Path:
    """A file of settings, which some clients want closed to others."""
    path.write_text("\n".join([*lines, ""]))
    path.chmod(0o600)
    return path


def maildir(home: Path, user: str | None = None) -> Path:
    """The client's own, there."""
    folder = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if user:
            shutil.chown(folder / part, user)
    return folder


# ------------------------------------------------------------ curl


def curl_login(account: Mailbox, way: str, password: str = "") -> list[str | Path]:
    """The options for a login. As to EXTERNAL, ``password`` is the name that is asked for."""
    chosen: list[str | Path] = ["--login-options", f"AUTH={'+APOP' if way == 'apop' else way.upper()}"]
    if way in TOKENS:
        return [*chosen, "-u", account.address, "--oauth2-bearer", secret(account, way, password)]
    if way == "external":
        assert isinstance(account, Account)
        shown = account.certificate()
        files: list[str | Path] = ["--cert", shown.certificate, "--key", shown.private_key]
        return [*chosen, "-u", f"{password or account.address}:", *files]
    return [*(chosen if way != "on" else []), "-u", f"{account.address}:{password or account.password}"]


def curl(
    home: Path,
    account: Mailbox,
    protocol: str,
    tls: str,
    path: str,
    *options: str | Path,
    ca: Path | None = None,
) -> Ran:
    """Its output is messages and answers; what it says is with ``-v``."""
    scheme = ("pop3" if protocol == "pop3" else "smtp") + ("s" if tls == "implicit" else "")
    checked: list[str | Path] = []
    if isinstance(account, Account) and tls:
        checked = ["--ssl-reqd", "--cacert", ca or account.ca]
    url = f"{scheme}://127.0.0.1:{account.port(protocol, tls)}/{path}"
    done = run(home, need("curl"), "-sS", "-v", url, *checked, *options, status=None)
    return Ran(done.returncode, done.stderr.decode(errors="replace"), [done.stdout])


def curl_send(
    home: Path,
    account: Account,
    tls: str,
    way: str,
    *options: str | Path,
    password: str = "",
    ca: Path | None = None,
    sender: str = "",
) -> Ran:
    """From the account to itself, as all that send."""
    file = home / "message"
    file.write_bytes(MESSAGES["plain"])
    mail: list[str | Path] = [
        "--mail-from",
        sender or account.address,
        "--mail-rcpt",
        account.address,
        "--upload-file",
        file,
    ]
    login = curl_login(account, way, password) if way else []
    return curl(home, account, "submission", tls, "client.example", *login, *mail, *options, ca=ca)


def curl_read(
    home: Path, account: Account, tls: str, way: str, password: str = "", ca: Path | None = None
) -> Ran:
    """All messages, by one run for each."""
    login = curl_login(account, way, password)
    ran = curl(home, account, "pop3", tls, "1", *login, ca=ca)
    second = curl(home, account, "pop3", tls, "2", *login, ca=ca) if ran.status == 0 else ran
    return attrs.evolve(ran, got=sorted(map(unix, ran.got + second.got)))


# ------------------------------------------------------------ msmtp and mpop


def corecursive(
    home: Path, account: Mailbox, tls: str, way: str, password: str, ca: Path | None
) -> list[str]:
    """Settings that msmtp and mpop have in common."""
    settings = [
        "account default",
        "host 127.0.0.1",
        f"user {account.address}",
        f'password "{secret(account, way, password)}"',
        f"auth {way or 'off'}",
        f"tls {'on' if tls else 'off'}",
    ]
    if tls:
        assert isinstance(account, Account)
        settings += [
            f"tls_starttls {'on' if tls == 'starttls' else 'off'}",
            f"tls_trust_file {ca or account.ca}",
        ]
        if way == "external":
            shown = account.certificate()
            settings += [f"tls_cert_file {shown.certificate}", f"tls_key_file {shown.private_key}"]
    return settings


def msmtp(
    home: Path,
    account: Mailbox,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
    sender: str = "",
    to: tuple[str, ...] = (),
    octets: bytes = MESSAGES["plain"],
) -> Ran:
    protocol = "submission" if tls else "smtp"
    more = [f"port {account.port(protocol, tls)}", f"from {sender or account.address}"]
    settings = write_settings(home / "msmtprc", *corecursive(home, account, tls, way, password, ca), *more)
    command = [need("msmtp"), f"--file={settings}", "--debug", "--", *(to or [account.address])]
    return client(home, *command, input=unix(octets))


def mpop(
    home: Path,
    account: Mailbox,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
    delivery: str = "",
    options: tuple[str, ...] = ("--keep=on",),
) -> Ran:
    folder = maildir(home)
    more = [
        f"port {account.port('pop3', tls)}",
        "received_header off",
        f"uidls_file {home}/uidls",
        f"delivery {delivery or f'maildir {folder}'}",
    ]
    settings = write_settings(home / "mpoprc", *corecursive(home, account, tls, way, password, ca), *more)
    return client(home, need("mpop"), f"--file={settings}", "--debug", *options, got=folder / "new")


# ------------------------------------------------------------ fetchmail and getmail

FETCHMAIL_TLS = {"starttls": 'sslproto "TLS1.2+"', "implicit": "ssl", "": 'sslproto ""'}


def fetchmail(
    home: Path,
    account: Mailbox,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
    options: tuple[str, ...] = ("--keep",),
) -> Ran:
    """A delivery agent takes each message from it."""
    got = home / "got"
    got.mkdir(exist_ok=True)
    agent = home / "agent"
    agent.write_text('#!/bin/sh\nnumber=$(ls "$1" | wc -l)\ncat > "$1/$((number + 1000))"\n')
    agent.chmod(0o700)
    poll = {"apop": "protocol apop", "on": "protocol pop3", "user": "protocol pop3 auth password"}
    protocol = poll.get(way, f"protocol pop3 auth {way}")
    lines = [
        f"poll 127.0.0.1 service {account.port('pop3', tls)} {protocol} uidl",
        f'user "{account.address}" password "{password or account.password}" {FETCHMAIL_TLS[tls]}',
        f'mda "{agent} {got}"',
    ]
    if isinstance(account, Account):
        lines.append(f'sslcertck sslcertfile "{ca or account.ca}" sslcommonname "{HOSTNAME}"')
    settings = write_settings(home / "fetchmailrc", *lines)
    command: list[str | Path] = [
        need("fetchmail"),
        "-v",
        "-v",
        "-f",
        settings,
        "--pidfile",
        home / "pid",
        "--nosyslog",
    ]
    more = ["--invisible", "--norewrite", *options]
    return client(home, *command, *more, env={"FETCHMAILHOME": str(home)}, got=got)


def getmail(
    home: Path,
    account: Mailbox,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
    delete: bool = False,
) -> Ran:
    """It refuses to deliver as root, and knows no STLS."""
    assert tls != "starttls"
    user = "nobody" if os.geteuid() == 0 else None
    folder = maildir(home, user)
    lines = [
        "[retriever]",
        f"type = {'SimplePOP3SSLRetriever' if tls else 'SimplePOP3Retriever'}",
        "server = 127.0.0.1",
        f"port = {account.port('pop3', tls)}",
        f"username = {account.address}",
        f"password = {password or account.password}",
        "timeout = 15",
    ]
    lines += ["use_apop = True"] if way == "apop" else []
    if tls:
        assert isinstance(account, Account)
        lines.append(f"ca_certs = {shutil.copy(ca or account.ca, home / 'ca.pem')}")
    lines += ["[destination]", "type = Maildir", f"path = {folder}/", "[options]", "read_all = false"]
    lines += [f"delete = {str(delete).lower()}", "delivered_to = false", "received = false", "verbose = 2"]
    (home / "getmailrc").write_text("\n".join(lines))
    command = [need("getmail"), f"--getmaildir={home}", "--rcfile=getmailrc"]
    return client(home, *command, user=user, got=folder / "new")


# ------------------------------------------------------------ swaks


def swaks(
    home: Path,
    account: Mailbox,
    tls: str,
    way: str,
    *options: str | Path,
    password: str = "",
    ca: Path | None = None,
    sender: str = "",
    to: str = "",
) -> Ran:
    """Its transcript. It replaces a dot on the last line by its own, which ends the message."""
    protocol = "submission" if tls else "smtp"
    command = [need("swaks"), "--server", "127.0.0.1", "--port", str(account.port(protocol, tls))]
    command += ["--from", sender or account.address, "--to", to or account.address]
    if tls:
        need_perl("IO::Socket::SSL")
        assert isinstance(account, Account)
        kind = "--tls" if tls == "starttls" else "--tls-on-connect"
        command += [kind, "--tls-verify", "--tls-ca-path", str(ca or account.ca)]
    if way:
        command += ["--auth", way.upper(), "-au", account.address, "-ap", password or account.password]
    return client(home, *command, *(options or ["--data", message_file(home, MESSAGES["plain"])]))


def message_file(home: Path, octets: bytes) -> str:
    """A message for swaks."""
    file = home / "message"
    file.write_bytes(unix(octets) + b".\n")
    return f"@{file}"


# ------------------------------------------------------------ Perl


def perl(
    protocol: str,
    home: Path,
    account: Account,
    tls: str,
    way: str,
    password: str = "",
    ca: Path | None = None,
) -> Ran:
    """Net::SMTP and Net::POP3; the script is in ``scripts``. The first message is all that it reads."""
    program = need_perl("IO::Socket::SSL", "Authen::SASL")
    way = way if way in ("user", "apop") else way.upper()
    words: list[str | Path] = [protocol, tls, str(account.port(protocol, tls)), ca or account.ca, way]
    script = SCRIPTS / "perl_login.pl"
    done = run(home, program, script, *words, account.address, password or account.password, status=None)
    return Ran(done.returncode, done.stderr.decode(), [unix(done.stdout)])


SENDERS: dict[str, Callable[..., Ran]] = {
    "curl": curl_send, "msmtp": msmtp, "mutt": mutt_send, "perl": partial(perl, "submission"), "swaks": swaks,
}  # fmt: skip
READERS: dict[str, Callable[..., Ran]] = {
    "curl": curl_read, "fetchmail": fetchmail, "getmail": getmail, "mpop": mpop, "mutt": mutt_read,
    "perl": partial(perl, "pop3"),
}  # fmt: skip
