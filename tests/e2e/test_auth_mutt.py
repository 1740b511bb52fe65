"""mutt, which sends by SMTP with STARTTLS or implicit TLS and reads by POP3 with either, by GNU SASL."""

import email
import email.policy
from pathlib import Path
from urllib.parse import quote

import pytest

from .corpus import MESSAGES, unix
from .neighbours import MUTT_SETTINGS, Mutt
from .programs import need, run
from .secured import Account, Secured

SMTP = {"starttls": "smtp", "implicit": "smtps"}
POP3 = {"starttls": "pop", "implicit": "pops"}
SETTINGS = """
set ssl_force_tls=yes ssl_starttls=yes ssl_ca_certificates_file="{ca}"
set certificate_file="{home}/none" from="{address}" realname="Somebody" use_envelope_from=yes
set smtp_url="{smtp}://{user}@127.0.0.1:{smtp_port}" smtp_pass="{password}" smtp_authenticators="{way}"
set pop_user="{address}" pop_pass="{password}" pop_authenticators="{way}" pop_delete=no pop_checkinterval=0
set pop_reconnect=no copy=no message_cachedir="" header_cache=""
"""


def settings(home: Path, account: Account, tls: str, way: str, ca: Path | None = None) -> str:
    """Those for an account."""
    return SETTINGS.format(
        ca=ca or account.ca,
        home=home,
        address=account.address,
        user=quote(account.address, safe=""),
        password=account.password,
        smtp=SMTP[tls],
        smtp_port=account.port("submission", tls),
        way=way,
    )


def send(home: Path, account: Account, tls: str, way: str, ca: Path | None = None, status: int = 0) -> str:
    """Send a message with an attachment from the account to itself; what mutt says."""
    file = home / "muttrc"
    file.write_text(settings(home, account, tls, way, ca))
    attached = home / "data.bin"
    attached.write_bytes(bytes(range(256)) * 256)
    command = [need("mutt"), "-n", "-F", file, "-s", "by mutt", "-a", attached, "--", account.address]
    done = run(home, *command, input="Grüße\n.\n".encode(), status=status)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize(
    ("tls", "way"),
    [("starttls", "plain"), ("implicit", "login"), ("starttls", "cram-md5"), ("implicit", "scram-sha-256")],
)
def test_sends(tmp_path: Path, account: Account, tls: str, way: str) -> None:
    send(tmp_path, account, tls, way)
    [stored] = account.messages()
    assert b" with ESMTPSA id " in stored
    got = email.message_from_bytes(stored, policy=email.policy.default)
    assert got["Subject"] == "by mutt"
    assert got["From"].addresses[0].addr_spec == account.address
    body = got.get_body()
    assert body is not None
    assert body.get_content().splitlines() == ["Grüße", "."]
    [attached] = got.iter_attachments()
    assert attached.get_payload(decode=True) == bytes(range(256)) * 256


def test_does_not_send_to_a_stranger(tmp_path: Path, account: Account, secured: Secured) -> None:
    other = secured.authority.issue("elsewhere.example").certificate
    send(tmp_path, account, "starttls", "plain", other, status=1)
    assert account.messages() == []


@pytest.mark.parametrize(
    ("tls", "way"),
    [
        ("implicit", "user"),
        ("starttls", "user"),
        ("implicit", "apop"),
        ("implicit", "plain"),
        ("starttls", "cram-md5"),
        ("starttls", "scram-sha-256"),
    ],
)
def test_reads(tmp_path: Path, account: Account, tls: str, way: str) -> None:
    account.fill(MESSAGES["plain"], MESSAGES["dots"])
    stored = account.messages()
    mutt = Mutt(account, tmp_path, None)
    mutt.settings.write_text(MUTT_SETTINGS + settings(tmp_path, account, tls, way))
    mutt.box = f"{POP3[tls]}://{quote(account.address, safe='')}@127.0.0.1:{account.port('pop3', tls)}"
    assert sorted(mutt.read()) == sorted(unix(octets) for octets in stored)
