"""Kinds of values, each in a table of what they make of what is written."""

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from mailserver.accounts.passwords import StoredPassword
from mailserver.config.schema.dns_kinds import CODES, DNS_NAME, DNS_SERVER, SELECTOR, CodeRange, DnsServer
from mailserver.config.schema.kinds import Context, Kind, ListOf
from mailserver.config.schema.mail_kinds import (
    ADDRESS,
    CLAIM,
    DATABASE_URL,
    DESTINATION,
    ENDPOINT,
    MILTER,
    NETWORK,
    PASSWORD,
    PATH_OR_NONE,
    TEXT_OR_NONE,
    TOKEN_KEY,
)
from mailserver.config.schema.problems import InvalidKeys
from mailserver.config.schema.scalars import Choice, Duration, Integer, RateOf, Size, Workers
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate

LONGEST = 3650 * 86400.0
NAMES = ListOf(Choice(("APOP", "SCRAM-SHA-1", "SCRAM-SHA-256")), may_be_empty=True, distinct=True)

GOOD: list[tuple[Kind[object], object, object]] = [
    (Duration(), "500ms", 0.5),
    (Duration(), "100ms", 0.1),
    (Duration(), "5s", 5.0),
    (Duration(), "5 s", 5.0),
    (Duration(), "5m", 300.0),
    (Duration(), "4h", 14400.0),
    (Duration(), "5d", 432000.0),
    (Duration(), "1.5h", 5400.0),
    (Duration(), "7", 7.0),
    (Duration(), 7, 7.0),
    (Duration(), 0.25, 0.25),
    (Duration(), 0, 0.0),
    (Duration(), "3650d", LONGEST),
    (Duration("1ms"), "1ms", 0.001),
    (Duration(maximum="30s"), "30s", 30.0),
    (RateOf(), "100/1h", Rate(100, 3600.0)),
    (RateOf(), "1/1s", Rate(1, 1.0)),
    (RateOf(), "2000/1d", Rate(2000, 86400.0)),
    (RateOf(), "5/1.5m", Rate(5, 90.0)),
    (RateOf(), "5/90", Rate(5, 90.0)),
    (RateOf(), "0/1h", Rate(0, 3600.0)),
    (RateOf(), "0", Rate()),
    (RateOf(), 0, Rate()),
    (Size("64 KiB"), "64 KiB", 65536),
    (Size("64 KiB"), "64KiB", 65536),
    (Size("64 KiB"), 65536, 65536),
    (Size("64 KiB"), "65536", 65536),
    (Size("64 KiB"), "100 kB", 100_000),
    (Size("64 KiB"), "10 MB", 10_000_000),
    (Size("64 KiB"), "50 MiB", 52428800),
    (Size("64 KiB"), "1 GB", 1_000_000_000),
    (Size("64 KiB"), "1 GiB", 2**30),
    (Integer(100), 100, 100),
    (Integer(0), 2**63 - 1, 2**63 - 1),
    (NAMES, ["SCRAM-SHA-256", "APOP"], ("SCRAM-SHA-256", "APOP")),
    (NAMES, [], ()),
    (PATH_OR_NONE, "ca.pem", Path("/ca.pem")),
    (PATH_OR_NONE, "", None),
    (TEXT_OR_NONE, "", ""),
    (TEXT_OR_NONE, "https://login.example", "https://login.example"),
    (CLAIM, "preferred_username", "preferred_username"),
    (NETWORK, "192.0.2.1", ip_network("192.0.2.1/32")),
    (NETWORK, "127.0.0.0/8", ip_network("127.0.0.0/8")),
    (NETWORK, "127.0.0.0/255.0.0.0", ip_network("127.0.0.0/8")),
    (NETWORK, "::1", ip_network("::1/128")),
    (NETWORK, "2001:DB8::/32", ip_network("2001:db8::/32")),
    (ENDPOINT, "tcp:25:interface=0.0.0.0", "tcp:25:interface=0.0.0.0"),
    (ENDPOINT, "systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    (ENDPOINT, "haproxy:tcp\\:25", "haproxy:tcp\\:25"),
    (DESTINATION, "mail.example.net:25", "mail.example.net:25"),
    (DESTINATION, "192.0.2.1:2525", "192.0.2.1:2525"),
    (DESTINATION, "127.0.0.1:0", "127.0.0.1:0"),
    (DESTINATION, "[2001:db8::1]:25", "[2001:db8::1]:25"),
    (DESTINATION, "lmtp:localhost:24", "lmtp:localhost:24"),
    (DESTINATION, "lmtp:[::1]:24", "lmtp:[::1]:24"),
    (DESTINATION, "smtps:[::1]:465", "smtps:[::1]:465"),
    (DESTINATION, "unix:/run/mail.sock", "unix:/run/mail.sock"),
    (DESTINATION, "lmtp:unix:/run/lmtp.sock", "lmtp:unix:/run/lmtp.sock"),
    (MILTER, "unix:/run/rspamd/milter.sock", "unix:/run/rspamd/milter.sock"),
    (MILTER, "localhost:11332", "localhost:11332"),
    (DNS_NAME, "Bücher.Example", "xn--bcher-kva.example"),
    (SELECTOR, "S1", "s1"),
    (SELECTOR, "2026.mail", "2026.mail"),
    (DNS_SERVER, "192.0.2.53", DnsServer(ip_address("192.0.2.53"), 53)),
    (DNS_SERVER, "192.0.2.53:5353", DnsServer(ip_address("192.0.2.53"), 5353)),
    (DNS_SERVER, "2001:DB8::53", DnsServer(ip_address("2001:db8::53"), 53)),
    (DNS_SERVER, "[2001:db8::53]:65535", DnsServer(ip_address("2001:db8::53"), 65535)),
    (CODES, "127.0.0.2", CodeRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.2"))),
    (CODES, "127.0.0.2-127.0.1.1", CodeRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.1.1"))),
    (Workers(), 1, 1),
    (Workers(), "auto", "auto"),
    (ADDRESS, "alice", Address("alice", "first.example")),
    (ADDRESS, "alice@second.example", Address("alice", "second.example")),
    (ADDRESS, '"a@b"', Address("a@b", "first.example")),
    (ADDRESS, '"a b"@[192.0.2.1]', Address("a b", "[192.0.2.1]")),
    (ListOf(ADDRESS), ["a", "b@c.example"], (Address("a", "first.example"), Address("b", "c.example"))),
]

BAD: list[tuple[Kind[object], list[object]]] = [
    (
        Duration(),
        ["", "s", "5w", "-1s", "1h30m", "1e3", ".5s", "5S", "\u0665s", "inf", "9" * 16, True, [], {}],
    ),
    (Duration(), [float("nan"), float("-inf"), -0.1, 10**400, -(10**5000), LONGEST + 1, "3650.1d"]),
    (Duration("1ms"), [0, "0.5ms"]),
    (Duration(maximum="30s"), ["31s", 30.1, "1m"]),
    (
        RateOf(),
        ["", "100", "1", "/1h", "100/", "100/h", "100 / 1h", "100/1h ", "100/1h/1d", "-1/1h", "1.5/1h"],
    ),
    (RateOf(), ["100/0s", "100/999ms", "100/1w", "100/3651d", "9" * 16 + "/1h", "\u0665/1h", "100/\n1h"]),
    (RateOf(), [1, False, 0.0, 10**5000, ["100/1h"], {}]),
    (NAMES, [["APOP", "SCRAM-SHA-1", "APOP"], ["apop"], [False], "APOP", ["APOP", "X"]]),
    (PATH_OR_NONE, ["a\0b", 1]),
    (TEXT_OR_NONE, ["a\nb", "\x7f", 1]),
    (CLAIM, ["", "a\tb", 1]),
    (
        Size("64 KiB"),
        ["", "KiB", "1.5 GiB", "64 kib", "70000 B", "-1", "63 KiB", "9" * 20, "9" * 30, "9 " * 20],
    ),
    (Size("64 KiB"), [65535, True, 1e6, 2**63]),
    (Integer(100), [99, True, 100.0, "100", 2**63, 10**5000]),
    (NETWORK, ["", "localhost", "192.0.2", "10.0.0.1/8", "::1/64", "fe80::1%/64", 1]),
    (ENDPOINT, ["", "25", ":25", "tcp", "tcp:2\n5", "tcp 25:", 10**5000]),
    (DESTINATION, ["", "host", "host:", ":25", "host:65536", "host:\u0665", "host:25\n", "a b:25"]),
    (DESTINATION, ["[::1]", "[::1]25", "::1:25", "[1.2.3.4.5]:25", "[host]:25", "user@host:25"]),
    (
        DESTINATION,
        [
            "unix:",
            "unix:run",
            "unix:/a\nb",
            "lmtp:",
            "lmtp:host",
            "lmtp:lmtp:host:25",
            "smtp:host:25",
            "smtps:unix:/x",
            "lmtp:smtps:host:25",
            "smtps:lmtp:host:25",
        ],
    ),
    (
        MILTER,
        [
            "",
            "unix:run",
            "lmtp:unix:/run/x",
            "smtps:host:25",
            "inet:8891@localhost",
            "localhost",
            "host:65536",
            1,
        ],
    ),
    (DNS_NAME, ["", "[192.0.2.1]", "a..b", "a b", "-.example", "a" * 64, 1]),
    (SELECTOR, ["", "s1.", ".s1", "s 1", "s1@a", "[192.0.2.1]", "a" * 64, "s" * 256, 1]),
    (DNS_SERVER, ["", "localhost", "localhost:53", "192.0.2", "192.0.2.53:", "192.0.2.53:0", ":53", 53]),
    (DNS_SERVER, ["192.0.2.53:65536", "192.0.2.53:\u0665", "192.0.2.53:53\n", "[192.0.2.53]:53", "::g"]),
    (DNS_SERVER, ["[::1]", "[::1]:0", "[::1]53", "fe80::1%eth0", "[fe80::1%eth0]:53", "127.0.0.0/8"]),
    (CODES, ["", "-", "127.0.0", "127.0.0.2-", "-127.0.0.2", "127.0.0.2-11", "127.0.0.0/8", "::1", 2]),
    (CODES, ["127.0.0.3-127.0.0.2", "127.0.0.2 - 127.0.0.3", "127.0.0.1-127.0.0.2-127.0.0.3"]),
    (Workers(), [0, -1, True, 1.0, "2", "AUTO", "", 2**63]),
    (ADDRESS, ["", "@", "a@", "a b", "<a@b.example>", "a@b@c.example", "a..b@c.example"]),
    (ListOf(ADDRESS), [[], "alice"]),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_good(kind: Kind[object], value: object, expected: object) -> None:
    result = kind.read(value, Context(domains=("first.example", "second.example")))
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param(kind, value, id=f"{type(kind).__name__}-{number}-{index}")
        for number, (kind, values) in enumerate(BAD)
        for index, value in enumerate(values)
    ],
)
def test_bad(kind: Kind[object], value: object) -> None:
    with pytest.raises(InvalidKeys) as caught:
        kind.read(value, Context(key="here"))
    [problem] = caught.value.problems
    assert problem.key.startswith("here")
    assert "; allowed: " in problem.text
    assert len(problem.text) < 500


@pytest.mark.parametrize(
    "password",
    [
        "secret",
        "pass wörd\n",
        "{unclosed",
        " {sha}x",
        "$ecret$",
        "$argon",
        "2 $ bills",
        "{PLAIN}{MD5}",
        "{PLAIN}\n",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
        "$argon2i$v=19$x",
        "{ARGON2ID}$argon2id$v=19$x",
        "$6$salt$hash",
        "{SHA512-CRYPT}$6$salt$hash",
        "$5$salt$hash",
        "{SHA256-CRYPT}$5$salt$hash",
        "$2a$12$hash",
        "$2b$12$hash",
        "$2y$12$hash",
        "{BLF-CRYPT}$2y$12$hash",
        "{SSHA}aGFzaA==",
        "{SSHA256}aGFzaA==",
        "{SSHA512}aGFzaA==",
        "{SHA}aGFzaA==",
        "{SHA256}aGFzaA==",
        "{SHA512}aGFzaA==",
        "{SHA1}aGFzaA==",
        "{CLEARTEXT}{MD5}",
        "{CLEAR}{MD5}",
        "$apr1$salt$hash",
        "{CRYPT}$apr1$salt$hash",
        "{CRYPT}$argon2id$v=19$x",
        "{ARGON2I}$argon2i$v=19$x",
        "$1$salt$hash",
        "{MD5-CRYPT}$1$salt$hash",
        "{CRYPT}$6$salt$hash",
        "{CRYPT}$2y$12$hash",
        "{NONE}",
        "{none}",
        "{sha256}jlADLsRHsu+H/jggxQL9YzL4mh3QsEtqMARuEh37acvnNV6+",
        "{crypt}$6$salt$hash",
        "{plain}{sha256}",
        "{SHA512.hex}00",
        "{",
        "x{PLAIN}",
    ],
)
def test_password(password: str) -> None:
    assert PASSWORD.read(password, Context()).reveal() == password
    # it must not be a surprise to who verifies it
    StoredPassword.read(password)


@pytest.mark.parametrize(
    "password",
    [
        "", "{PLAIN}", "{MD5}hunter2", "{HUNTER2}", "{hunter2}", "{Hunter 2}x", "{}hunter2", "{{hunter2}}",
        "{sha257}hunter2", "{SHA256.}hunter2", "{SHA256.ROT13}hunter2", "{hunter2\n}", "{PLAIN }hunter2",
        "{CRYPT}hunter2", "{CRYPT}$y$hunter2", "{CLEARTEXT}", "{NONE}hunter2", "{none}hunter2",
        "$3$hunter2", "$2x$hunter2", "$20 bills for hunter2", "$argon2$hunter2", "$argon2d$hunter2",
        "$y$hunter2", "$7$hunter2", "$md5,rounds=3$hunter2", "$scrypt$hunter2", "$pbkdf2-sha256$hunter2",
        "{CRYPT}", "{Cleartext}", "{plain}",
        ["hunter2"], {"hunter2": "hunter2"}, {"plain": "hunter2"}, b"hunter2",
    ],
)  # fmt: skip
def test_bad_password(password: object) -> None:
    with pytest.raises(InvalidKeys) as caught:
        PASSWORD.read(password, Context(key="password"))
    [problem] = caught.value.problems
    assert 'allowed: a password, a hash from "mailserver passwd"' in problem.text
    assert "hunter2" not in problem.text.lower()


def test_token_key() -> None:
    assert TOKEN_KEY.read("", Context()) is None
    # 32 octets in 16 letters
    for text in ("k" * 32, "ß" * 16, "-----BEGIN\n" + "k" * 32):
        secret = TOKEN_KEY.read(text, Context())
        assert secret is not None
        assert secret.reveal() == text
    for wrong in ("hunter2", "k" * 31, 5, ["hunter2"]):
        with pytest.raises(InvalidKeys) as caught:
            TOKEN_KEY.read(wrong, Context(key="key"))
        [problem] = caught.value.problems
        assert "at least 32 octets" in problem.text
        assert "hunter2" not in problem.text


def test_a_near_name_is_told() -> None:
    with pytest.raises(InvalidKeys) as caught:
        NAMES.read(["scram-sha1", "KERBEROS"], Context(key="here"))
    near, far = caught.value.problems
    assert near.key == "here[1]"
    assert near.text.startswith('unknown value "scram-sha1" (similar: "SCRAM-SHA-1"); allowed: ')
    assert far.text == 'unknown value "KERBEROS"; allowed: "APOP", "SCRAM-SHA-1" or "SCRAM-SHA-256"'


def test_database_url() -> None:
    assert DATABASE_URL.read("", Context()) is None
    for url in ("postgresql://db/mail", "postgres://db/mail"):
        secret = DATABASE_URL.read(url, Context())
        assert secret is not None
        assert secret.reveal() == url
