"""``mailserver sendmail``, also under the name ``sendmail``: submits a message from standard input.

Its options are those of sendmail(1), so that cron, git, mutt and PHP can use it. The exit status is one of
``sysexits.h``, with one line on standard error.
"""

import getopt
import os
import pwd
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from mailserver.cli.requests import data_folder, owner, perform
from mailserver.config.loader import DEFAULT_CONFIG
from mailserver.durable.spill import Spill
from mailserver.errors import AddressError, ConfigurationError, MailserverError, one_line
from mailserver.mail.address_list import addresses_in
from mailserver.mail.header_recipients import HeaderRecipients
from mailserver.wire.local_text import LocalText

PIECE = 65536  # octets
OPTIONS = "A:B:C:F:GL:N:O:R:UV:X:b:ce:f:h:imno:p:q:r:tvx"
LONG_OPTIONS = ("config=", "help")
USAGE = """\
Usage: mailserver sendmail [OPTION]... [RECIPIENT]...

Submit a message from standard input. The options are those of sendmail(1).

  -t          Take the recipients from the To, Cc and Bcc fields, too.
  -i, -oi     Do not end the message at a line with a single dot.
  -f, -r ADDRESS  The envelope sender; "" for none. Default: the user's name.
  -F NAME     The name for a missing From field.
  -N LIST     Reports to request: never, or of failure, delay, success.
  -R KIND     Parts of the message in a report: hdrs or full.
  -V ID       An envelope id for reports.
  -v          Print the id of the message.
  --config FILE  The configuration file.
  --help      Show this message and exit.

Other options of sendmail are accepted and ignored: -bm, -o, -O, -B, -G, -n, -U.
"""
# Modes of -b, and what to use instead.
MODES = {
    "d": "to start the server: twistd mailserver",
    "p": "use: mailserver queue list",
    "s": "use a listener of the protocol submission",
}
NOTIFY = {"failure", "delay", "success"}


class _Usage(Exception):
    """Wrong usage; the text is one line."""


@attrs.define
class _Options:
    """The options in force."""

    config: str = DEFAULT_CONFIG
    recipients: list[str] = attrs.field(factory=list)
    sender: str | None = None
    name: str | None = None
    from_header: bool = False
    dot_ends: bool = True
    verbose: bool = False
    help: bool = False
    nothing: bool = False  # a mode with nothing to do
    parameters: dict[str, str] = attrs.field(factory=dict)


def sendmail(words: Sequence[str]) -> int:
    """Run the command with these arguments. Returns the exit status."""
    try:
        return _submit(_parse(words))
    except _Usage as error:
        return _failed(f"{error}; see: mailserver sendmail --help", os.EX_USAGE)
    except AddressError as error:
        return _failed(str(error), os.EX_DATAERR)
    except ConfigurationError as error:
        return _failed("; ".join(error.lines), os.EX_CONFIG)
    except PermissionError as error:
        return _failed(f"{error.filename}: {error.strerror}", os.EX_NOPERM)
    except OSError as error:
        return _failed(str(error), os.EX_OSERR)
    except MailserverError as error:
        return _failed(str(error), os.EX_TEMPFAIL)


def _failed(text: str, status: int) -> int:
    print(one_line(f"sendmail: {text}"), file=sys.stderr)
    return status


# ------------------------------------------------------------ options


def _parse(words: Sequence[str]) -> _Options:
    try:
        given, rest = getopt.gnu_getopt(list(words), OPTIONS, LONG_OPTIONS)
    except getopt.GetoptError as error:
        raise _Usage(error.msg) from None
    options = _Options()
    for option, value in given:
        match option.lstrip("-"), value:
            case "config", _:
                options.config = value
            case "help", _:
                options.help = True
            case "t", _:
                options.from_header = True
            case ("i", _) | ("o", "i"):
                options.dot_ends = False
            case (("f" | "r"), _):
                options.sender = value
            case "F", _:
                options.name = value
            case "v", _:
                options.verbose = True
            case "N", _:
                options.parameters["notify"] = _notify(value)
            case "R", _:
                options.parameters["ret"] = _ret(value)
            case "V", _:
                options.parameters["envid"] = _xtext(value)
            case "b", "m":
                pass
            case "b", "i":
                options.nothing = True  # aliases need no second database
            case "b", _:
                raise _Usage(f"-b{value} is not supported; {MODES.get(value, 'allowed: -bm')}")
            case "q", _:
                raise _Usage("-q is not supported; use: mailserver queue retry")
            case "C", _:
                raise _Usage("-C is not supported; use: --config FILE")
    options.recipients = [address for word in rest for address in addresses_in(word)]
    return options


def _notify(value: str) -> str:
    conditions = value.lower().split(",")
    if conditions != ["never"] and not NOTIFY.issuperset(conditions):
        raise _Usage(f"-N {value}: allowed: never, or a list of failure, delay and success")
    return value.upper()


def _ret(value: str) -> str:
    if value.lower() not in ("hdrs", "full"):
        raise _Usage(f"-R {value}: allowed: hdrs, full")
    return value.upper()


def _xtext(value: str) -> str:
    """An envelope id in the form of RFC 3461 section 4."""
    if not re.fullmatch(r"[ -~]{1,100}", value):
        raise _Usage("-V: allowed: up to 100 printable ASCII characters")
    return re.sub(r"[^!-*,-<>-~]", lambda match: f"+{ord(match[0]):02X}", value)


# ------------------------------------------------------------ the message


def _submit(options: _Options) -> int:
    if options.help:
        print(USAGE, end="")
        return os.EX_OK
    if options.nothing:
        return os.EX_OK
    if not options.recipients and not options.from_header:
        raise _Usage("no recipients; name them, or use -t")
    data = data_folder(Path(options.config))
    _require_owner(data)
    try:
        spill = Spill(Path(tempfile.gettempdir()))
    except OSError as error:
        return _failed(f"no temporary file: {error.strerror}", os.EX_CANTCREAT)
    recipients = [*options.recipients, *_read(options, spill)]
    if not recipients:
        raise _Usage("no recipients in the header of the message")
    user, name = _user()
    sender = user if options.sender is None else next(addresses_in(options.sender), "")
    outcome = perform(
        data,
        {
            "command": "sendmail",
            "config": str(Path(options.config).absolute()),
            "content": spill.file,
            "recipients": recipients,
            "reverse_path": sender,
            "author": sender or user,
            "name": name if options.name is None else options.name,
            "uid": os.getuid(),
            **options.parameters,
        },
    )
    text = " ".join(outcome.lines)
    if outcome.status != os.EX_OK:
        return _failed(text, outcome.status)
    if options.verbose:
        print(text)
    return os.EX_OK


def _read(options: _Options, spill: Spill) -> list[str]:
    """Read the message from standard input. Returns the recipients in its header, if wanted."""
    text, header = LocalText(dot_ends=options.dot_ends), HeaderRecipients()
    ended = False
    stdin: Any = sys.stdin.buffer
    while not ended:
        octets = stdin.read1(PIECE)
        data = text.feed(octets) if octets else text.finish()
        ended = not octets or text.ended
        spill.append(data)
        if options.from_header:
            header.feed(data)
    return header.addresses()


def _user() -> tuple[str, str]:
    """The name of the user, and the full name."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return str(os.getuid()), ""
    full = entry.pw_gecos.split(",")[0].replace("&", entry.pw_name.capitalize())
    return entry.pw_name, os.environ.get("NAME") or full


def _require_owner(data: Path) -> None:
    """Raise ``PermissionError`` unless this user may use the control socket."""
    if os.geteuid() not in (0, owner(data).st_uid):
        reason = "only root and the server's user may submit here; others use a submission listener"
        raise PermissionError(0, reason, str(data))
