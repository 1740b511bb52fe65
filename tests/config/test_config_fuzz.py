"""Whatever is written, a Config comes out or a ConfigurationError, and no secret is told."""

import datetime
import tempfile
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.schema.problems import literal
from mailserver.config.schema.tables import REQUIRED, Table, Tables, keys_of, leaves_of
from mailserver.errors import ConfigurationError

LEAVES = dict(leaves_of(Config))
NAMES = sorted(
    {part for path in LEAVES for part in path.split(".")}
    | {
        key.name
        for leaf in LEAVES.values()
        if isinstance(leaf.kind, Tables)
        for key in keys_of(leaf.kind.table.cls)
    }
)

texts = st.one_of(
    st.sampled_from(
        ["smtp", "tcp:0", "starttls", "alice", "alice@localhost", "postgresql", "postgresql://x"]
    ),
    st.sampled_from(
        ["5s", "1ms", "64 KiB", "9 GiB", "127.0.0.1/8", "::1", "[::1]:25", "lmtp:unix:/x", "a..b"]
    ),
    st.sampled_from(
        [
            "{PLAIN}",
            "{X}",
            "{NONE}",
            "$6$",
            "APOP",
            "EXTERNAL",
            "100/1h",
            "0",
            "[",
            "[x:y]",
            '"',
            "@",
            "xn--",
            "ß.example",
            "1::/129",
            "loopback",
            "auto",
            "127.0.0.2-127.0.0.3",
            "[::1]:53",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
scalars = st.one_of(
    texts,
    st.booleans(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.integers(min_value=-1, max_value=200),
    st.floats(),
    st.dates(min_value=datetime.date(1000, 1, 1)),
)
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)


def tables(cls: type[attrs.AttrsInstance]) -> st.SearchStrategy[dict[str, object]]:
    """Tables with keys that exist, and values most of which are wrong."""
    optional = {}
    for key in keys_of(cls):
        if isinstance(key.kind, Table):
            optional[key.name] = tables(key.kind.cls) | values
        elif isinstance(key.kind, Tables):
            optional[key.name] = st.lists(tables(key.kind.table.cls), max_size=3) | values
        else:
            shown = key.example if key.default is REQUIRED else key.default
            optional[key.name] = st.just(shown) | scalars | st.lists(scalars, max_size=3) | values
    return st.fixed_dictionaries({}, optional=optional)


documents = st.dictionaries(names, values, max_size=8) | tables(Config)


def outcome(content: bytes, environ: dict[str, str], overrides: dict[str, str]) -> Config | list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mailserver.toml"
        path.write_bytes(content)
        try:
            return load(path, environ, overrides)
        except ConfigurationError as error:
            lines = [line.replace(str(path), "FILE") for line in error.lines]
    assert lines
    assert len(set(lines)) == len(lines)
    assert all(line.isprintable() for line in lines)
    return lines


@given(documents)
def test_any_document(document: dict[str, object]) -> None:
    text = "".join(f"{literal(name)} = {literal(value)}\n" for name, value in document.items())
    text = text.replace("\x7f", "\\u007f")
    result = outcome(text.encode(), {}, {})
    # the document is TOML, so nothing else can be said of it
    assert isinstance(result, Config) or not any("TOML" in line for line in result)


@given(st.binary(max_size=60) | documents.map(lambda document: literal(document).encode()))
def test_any_octets(content: bytes) -> None:
    outcome(content, {}, {})


outside = st.text(max_size=20) | texts | values.map(literal)


@given(
    st.dictionaries(st.sampled_from(sorted(LEAVES)) | st.text(max_size=10), outside, max_size=5),
    st.dictionaries(st.sampled_from(sorted(LEAVES)), outside, max_size=5),
)
def test_any_environment(environ: dict[str, str], overrides: dict[str, str]) -> None:
    variables = {"MAILSERVER__" + name.upper().replace(".", "__"): text for name, text in environ.items()}
    outcome(b"", variables, overrides)


# any password or URL, in any place for it, beside anything else that is wrong
SECRET = "zq8Zx"
shaped = st.sampled_from(
    [
        *(SECRET, f"{{{SECRET}}}", f"{{MD5}}{SECRET}", f"{{PLAIN}}{SECRET}", f"{{NONE}}{SECRET}"),
        *(f"$3${SECRET}", f"{{SSHA}}${SECRET}"),
    ]
)
secrets = shaped | st.lists(shaped) | st.dictionaries(st.just("plain"), shaped)


@given(
    secrets,
    st.sampled_from(
        [
            'account = [{{ address = "alice", password = {} }}]',
            "account = [{{ password = {}, zzz = 1 }}]",
            'account = [{{ address = "a@b@c", passwd = {} }}]',
            "account = {}",
            "account = [{}]",
            "storage = {{ url = {} }}",
            'storage = {{ engine = "postgresql", url = {} }}',
            "storage = {}",
            "token = {{ key = {} }}",
            "token = {{ key = {}, jwks = 5 }}",
            "token = {}",
        ]
    ),
)
def test_secrets_are_not_told(secret: object, place: str) -> None:
    text = place.format(literal(secret))
    key, _, value = text.partition(" = ")
    shown = repr(outcome(text.encode(), {}, {}))
    if key == "account":
        shown += repr(outcome(b"", {"MAILSERVER__ACCOUNT": value}, {}))
        shown += repr(outcome(b"", {"MAILSERVER__ACCOUNT": value[:-1]}, {}))
    assert SECRET not in shown
