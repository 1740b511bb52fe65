"""mailserver.toml(5): all keys of the configuration."""

from collections.abc import Iterator

from mailserver.cli.pages import roff
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import DEFAULT_CONFIG
from mailserver.config.schema.tables import Key, Table, Tables, keys_of

_FORM = """
The file is in TOML. All keys have defaults, except those that are required in their section; keys without a
section come first. Durations are written "500ms", "5s", "5m", "4h", "5d", or as a number of seconds. Sizes
are written "64 KiB", "50 MiB", "1 GiB", "10 MB", or as a number of octets. Relative paths start at the folder
of the file. The server never writes the file. After a change, `mailserver reload` puts it in force, and names
the keys that need a restart.
"""
_SOURCES = """
The command line takes precedence over the environment, the environment over the file, and the file over the
defaults. The option --smtp-max-recipients of `twistd mailserver` and the variable
MAILSERVER__SMTP__MAX_RECIPIENTS both set the key max_recipients of the section [smtp]. In a variable, commas
separate the items of an array, and tables are written as in TOML.
"""
_EXAMPLE = (
    'hostname = "mail.example.org"',
    'domains = ["example.org"]',
    "",
    "[[listen]]",
    'protocol = "smtp"',
    'endpoint = "tcp6:25"',
    "",
    "[[listen]]",
    'protocol = "pop3"',
    'endpoint = "tcp6:995"',
    'tls = "implicit"',
    "",
    "[tls]",
    'certificate = "/etc/letsencrypt/live/mail.example.org/fullchain.pem"',
    'private_key = "/etc/letsencrypt/live/mail.example.org/privkey.pem"',
)


def configuration_page() -> str:
    """The page."""
    return "".join(_page())


def _page() -> Iterator[str]:
    yield roff.head("mailserver.toml", 5, "File Formats", "configuration of the mail server")
    yield roff.section("Synopsis")
    yield f"{roff.italic(DEFAULT_CONFIG)}\n"
    yield roff.section("Description")
    yield roff.paragraphs(_FORM, _SOURCES)
    yield roff.section("Keys")
    keys = keys_of(Config)
    yield from (_key(key) for key in keys if not isinstance(key.kind, Table | Tables))
    yield roff.section("Sections")
    yield from (_section(key) for key in keys if isinstance(key.kind, Table | Tables))
    yield roff.section("Example")
    yield roff.example(_EXAMPLE)
    yield roff.section("See also")
    yield ".BR mailserver (8)\n"


def _section(key: Key) -> str:
    if isinstance(key.kind, Tables):
        table, heading = key.kind.table, f"[[{key.name}]]"
    else:
        assert isinstance(key.kind, Table)
        table, heading = key.kind, f"[{key.name}]"
    note = [f"Default: {key.note}."] if key.note else []
    text = roff.subsection(heading) + roff.paragraphs(key.doc, *note)
    return text + "".join(map(_key, keys_of(table.cls)))


def _key(key: Key) -> str:
    default = f"Default: {key.default_text}" if key.default_text else "Required"
    return roff.item(roff.bold(key.name), key.doc, f"Allowed: {key.kind.allowed}.", f"{default}.")
