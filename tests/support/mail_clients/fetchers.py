"""The clients that fetch: each fetches all messages of an account into a folder, and deletes them."""

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from tests.support.e2e.clients import maildir, write_settings
from tests.support.e2e.programs import need, need_node_modules, need_perl
from tests.support.mail_clients.clients import (
    ONWARD,
    SCRIPTS,
    TIMEOUT,
    Invocation,
    MailClient,
    Place,
    version_by,
)
from tests.support.mail_clients.senders import node_version, perl_version, python_version, settings


def kept(home: Path) -> list[bytes]:
    """The messages in the client's hands, by now."""
    folders = (home / "got", home / "Maildir" / "new", home / "Maildir" / "cur")
    return [file.read_bytes() for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]


def folder_of(home: Path) -> Path:
    folder = home / "got"
    folder.mkdir(exist_ok=True)
    return folder


def script(program: str, name: str, home: Path, place: Place, **more: str) -> Invocation:
    """A script that takes its settings as JSON."""
    return Invocation([program, SCRIPTS / name, settings(place, folder=str(folder_of(home)), **more)])


def poplib(home: Path, place: Place) -> Invocation:
    return script(sys.executable, "poplib_fetch.py", home, place)


def poplib_uids(home: Path, place: Place) -> Invocation:
    return script(sys.executable, "poplib_fetch.py", home, place, memory=str(home / "uids"))


def perl(home: Path, place: Place) -> Invocation:
    return script(need_perl("IO::Socket::SSL"), "net_pop3_fetch.pl", home, place)


def node_pop3(home: Path, place: Place) -> Invocation:
    made = script(need("node"), "node_pop3_fetch.js", home, place)
    return Invocation(made.command, env=need_node_modules("node-pop3"), last_word="done")


def fetchmail(home: Path, place: Place, agent: bool = False) -> Invocation:
    """It passes messages on by SMTP, or to an ``agent``. Exit status 1 is: no mail."""
    tls = {"": 'sslproto ""', "starttls": 'sslproto "TLS1.2+"', "implicit": "ssl"}[place.tls]
    onward = f'smtphost "127.0.0.1/{place.onward}" smtpname "{ONWARD}"'
    if agent:
        program = home / "agent"
        program.write_text(f"#!/bin/sh\ncat > $(mktemp -p {folder_of(home)})\n")
        program.chmod(0o700)
        onward = f'mda "{program}"'
    lines = [
        f"poll {place.host} service {place.port} protocol pop3 uidl",
        f'user "{place.address}" password "{place.password}" {tls} sslcertck sslcertfile "{place.ca}"',
        onward,
    ]
    file = write_settings(home / "fetchmailrc", *lines)
    command: list[str | Path] = [need("fetchmail"), "-f", file, "--timeout", str(TIMEOUT), "--nosyslog"]
    command += ["--pidfile", home / "pid", "--invisible", "--norewrite"]
    return Invocation(command, env={"FETCHMAILHOME": str(home)}, good=(0, 1))


def mpop(home: Path, place: Place) -> Invocation:
    lines = [
        "account default",
        f"host {place.host}",
        f"port {place.port}",
        f"timeout {TIMEOUT}",
        "auth user",
        f"user {place.address}",
        f"password {place.password}",
        f"tls {'on' if place.tls else 'off'}",
        f"tls_starttls {'on' if place.tls == 'starttls' else 'off'}",
        f"tls_trust_file {place.ca}",
        "received_header off",
        f"uidls_file {home}/uidls",
        f"delivery maildir {maildir(home)}",
    ]
    return Invocation([need("mpop"), f"--file={write_settings(home / 'mpoprc', *lines)}", "--quiet"])


def getmail(home: Path, place: Place, each: bool = False) -> Invocation:
    """It refuses to deliver as root. ``each``: its memory is written after each message."""
    user = "nobody" if os.geteuid() == 0 else None
    lines = [
        "[retriever]",
        f"type = {'SimplePOP3SSLRetriever' if place.tls else 'SimplePOP3Retriever'}",
        f"server = {place.host}",
        f"port = {place.port}",
        f"username = {place.address}",
        f"password = {place.password}",
        f"timeout = {TIMEOUT}",
        *([f"ca_certs = {shutil.copy(place.ca, home / 'ca.pem')}"] if place.tls else []),
        "[destination]",
        "type = Maildir",
        f"path = {maildir(home, user)}/",
        "[options]",
        "delete = true",
        "read_all = false",
        "delivered_to = false",
        "received = false",
        f"to_oldmail_on_each_mail = {str(each).lower()}",
    ]
    write_settings(home / "getmailrc", *lines).chmod(0o644)
    if user:
        shutil.chown(home, user)
    return Invocation([need("getmail"), f"--getmaildir={home}", "--rcfile=getmailrc"], user=user)


def curl(home: Path, place: Place) -> Invocation:
    need("curl")
    url = f"pop3{'s' if place.tls == 'implicit' else ''}://{place.host}:{place.port}"
    command: list[str | Path] = [need("sh"), SCRIPTS / "curl_fetch.sh", url, folder_of(home)]
    command += ["-sS", "--max-time", str(2 * TIMEOUT), "-u", f"{place.address}:{place.password}"]
    command += ["--ssl-reqd", "--cacert", place.ca] if place.tls else []
    return Invocation(command)


def fetchmail_version() -> str:
    return version_by(r"release (\S+?)\+", need("fetchmail"), "-V")


def getmail_version() -> str:
    return version_by(r"getmail (\S+)", need("getmail"), "--version")


FETCHERS = (
    MailClient("poplib", python_version, poplib, "`POP3(timeout=…)`; no memory"),
    MailClient(
        "poplib, UIDLs kept",
        python_version,
        poplib_uids,
        "the same; it writes down the UIDL of each message it has, and only deletes those",
    ),
    MailClient("node-pop3", partial(node_version, "node-pop3"), node_pop3, "`timeout`; no memory", False),
    MailClient("Net::POP3", partial(perl_version, "Net::POP3"), perl, "`Timeout`; no memory"),
    MailClient(
        "curl",
        lambda: version_by(r"curl (\S+)", need("curl"), "--version"),
        curl,
        "`--max-time`, `--fail-early`, `--remove-on-error`; no memory",
        removes_in=2,
    ),
    MailClient(
        "fetchmail",
        fetchmail_version,
        fetchmail,
        "`uidl`, `--timeout`; passes each message on by SMTP",
        retrieves_by="TOP",
    ),
    MailClient(
        "fetchmail, mda",
        fetchmail_version,
        partial(fetchmail, agent=True),
        "the same; an `mda` takes each message",
        retrieves_by="TOP",
    ),
    MailClient(
        "mpop",
        lambda: version_by(r"version (\S+)", need("mpop"), "--version"),
        mpop,
        "`timeout`; into a Maildir",
    ),
    MailClient(
        "getmail", getmail_version, getmail, "`timeout`, `delete`, `read_all = false`; into a Maildir", False
    ),
    MailClient(
        "getmail, each mail",
        getmail_version,
        partial(getmail, each=True),
        "the same with `to_oldmail_on_each_mail = true`",
        False,
    ),
)
