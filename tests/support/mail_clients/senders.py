"""The clients that send: each sends the message in a file to all recipients, with one command."""

import json
import os
import sys
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from tests.support.corpus.messages import unix
from tests.support.e2e.clients import write_settings
from tests.support.e2e.programs import missing, need, need_node_modules, need_perl
from tests.support.mail_clients.clients import SCRIPTS, TIMEOUT, Invocation, MailClient, Place, version_by

SENDER = "bob@client.example"


def settings(place: Place, **more: object) -> str:
    """What a script is told, JSON."""
    told = {
        "host": place.host,
        "port": place.port,
        "tls": place.tls,
        "ca": str(place.ca),
        "address": place.address,
        "password": place.password,
        "login": place.login,
        "timeout": TIMEOUT,
        **more,
    }
    return json.dumps(told)


def script(program: str, name: str, home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    """A script that takes its settings as JSON."""
    told = settings(place, file=str(file), sender=SENDER, recipients=recipients)
    return Invocation([program, SCRIPTS / name, told])


def python(name: str, home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    return script(sys.executable, name, home, place, file, *recipients)


def perl(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    program = need_perl("IO::Socket::SSL", "Authen::SASL")
    return script(program, "net_smtp_send.pl", home, place, file, *recipients)


def nodemailer(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    made = script(need("node"), "nodemailer_send.js", home, place, file, *recipients)
    return Invocation(made.command, env=need_node_modules("nodemailer"), last_word="done")


def msmtp(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    lines = [
        "account default",
        f"host {place.host}",
        f"port {place.port}",
        f"timeout {TIMEOUT}",
        f"from {SENDER}",
        "domain client.example",
        f"auth {'plain' if place.login else 'off'}",
        f"user {place.address}",
        f"password {place.password}",
        f"tls {'on' if place.tls else 'off'}",
        f"tls_trust_file {place.ca}",
    ]
    file_of_settings = write_settings(home / "msmtprc", *lines)
    return Invocation(
        [need("msmtp"), f"--file={file_of_settings}", "--", *recipients], input=file.read_bytes()
    )


def curl(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    command: list[str | Path] = [need("curl"), "-sS", "--max-time", str(2 * TIMEOUT)]
    command += ["--mail-from", SENDER, "--upload-file", file]
    for recipient in recipients:
        command += ["--mail-rcpt", recipient]
    command += ["--ssl-reqd", "--cacert", place.ca] if place.tls else []
    command += ["-u", f"{place.address}:{place.password}"] if place.login else []
    return Invocation([*command, f"smtp://{place.host}:{place.port}/client.example"])


def swaks(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    program = need("swaks")
    need_perl("IO::Socket::SSL", "Authen::SASL")
    command: list[str | Path] = [
        program,
        "--silent",
        "2",
        "--timeout",
        str(TIMEOUT),
        "--helo",
        "client.example",
    ]
    command += ["--server", place.host, "--port", str(place.port)]
    command += ["--from", SENDER, "--to", ",".join(recipients), "--data", f"@{file}"]
    command += ["--tls", "--tls-verify", "--tls-ca-path", place.ca] if place.tls else []
    command += ["--auth", "-au", place.address, "-ap", place.password] if place.login else []
    return Invocation(command)


def s_nail(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    """It writes the message itself, and is told the text alone. A certificate must have a name for it."""
    host = "localhost" if place.tls else place.host
    user = f"{quote(place.address, safe='')}:{quote(place.password)}@" if place.login else ""
    variables = [
        "v15-compat",
        "sendwait",
        "nosave",
        f"mta=smtp://{user}{host}:{place.port}",
        f"from={SENDER}",
    ]
    variables += [f"smtp-auth={'plain' if place.login else 'none'}", f"socket-connect-timeout={TIMEOUT}"]
    if place.tls:
        variables += [
            "smtp-use-starttls",
            "tls-verify=strict",
            f"tls-ca-file={place.ca}",
            "tls-ca-no-defaults",
        ]
    command: list[str | Path] = [need("s-nail"), "-:/", "-s", "Number 1"]
    for variable in variables:
        command += ["-S", variable]
    _, _, text = unix(file.read_bytes()).partition(b"\n\n")
    return Invocation([*command, *recipients], input=text)


def git(home: Path, place: Place, file: Path, *recipients: str) -> Invocation:
    """It takes a file with LF line ends."""
    file.write_bytes(unix(file.read_bytes()))
    command: list[str | Path] = [need("git"), "send-email", "--quiet", "--confirm=never", "--suppress-cc=all"]
    command += [f"--smtp-server={place.host}", f"--smtp-server-port={place.port}"]
    command += ["--smtp-domain=client.example", f"--from=Bob <{SENDER}>"]
    command += [f"--to={recipient}" for recipient in recipients]
    command += ["--smtp-encryption=tls", f"--smtp-ssl-cert-path={place.ca}"] if place.tls else []
    command += [f"--smtp-user={place.address}", f"--smtp-pass={place.password}"] if place.login else []
    return Invocation([*command, file])


@cache
def node_version(module: str) -> str:
    """The version of a module of npm."""
    for folder in need_node_modules(module)["NODE_PATH"].split(os.pathsep):
        package = Path(folder) / module / "package.json"
        if package.is_file():
            return str(json.loads(package.read_text())["version"])
    raise AssertionError(f"{module} has no package.json")


@cache
def python_version() -> str:
    """Of the standard library, without the last number: it changes with each security fix."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def perl_version(module: str) -> str:
    """The version of a module of Perl."""
    return version_by(r"(\S+)", need("perl"), f"-M{module}", "-e", f"print ${module}::VERSION")


def git_version() -> str:
    """The version of git, if it has send-email."""
    program = need("git")
    if not Path(version_by(r"(\S+)", program, "--exec-path"), "git-send-email").exists():
        missing("git send-email is not installed (Debian package git-email)")
    return version_by(r"version (\S+)", program, "--version")


SENDERS = (
    MailClient(
        "smtplib",
        python_version,
        partial(python, "smtplib_send.py"),
        "`SMTP(timeout=…)`, `sendmail()`",
    ),
    MailClient(
        "aiosmtplib",
        partial(version, "aiosmtplib"),
        partial(python, "aiosmtplib_send.py"),
        "`send(timeout=…)`",
    ),
    MailClient(
        "nodemailer", partial(node_version, "nodemailer"), nodemailer, "`sendMail()`, three time-outs"
    ),
    MailClient(
        "Net::SMTP",
        partial(perl_version, "Net::SMTP"),
        perl,
        "`Timeout`; `dataend` is checked, `quit` is not",
    ),
    MailClient("msmtp", lambda: version_by(r"version (\S+)", need("msmtp"), "--version"), msmtp, "`timeout`"),
    MailClient("curl", lambda: version_by(r"curl (\S+)", need("curl"), "--version"), curl, "`--max-time`"),
    MailClient(
        "swaks", lambda: version_by(r"version (\S+)", need("swaks"), "--version"), swaks, "`--timeout`"
    ),
    MailClient(
        "s-nail",
        lambda: version_by(r"v([\d.]+)", need("s-nail"), "--version"),
        s_nail,
        "`sendwait`; no option for a time-out but for connecting",
    ),
    MailClient(
        "git send-email",
        git_version,
        git,
        "one patch; no option for a time-out",
    ),
)
