"""mutt, which sends by SMTP with STARTTLS or implicit TLS and reads by POP3 with either, by GNU SASL."""

import email
import email.policy
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.clients import MUTT_POP3, mutt_send, mutt_settings
from tests.support.e2e.neighbours import SETTINGS, Mutt
from tests.support.e2e.secured import Account, Secured


@pytest.mark.parametrize(
    ("tls", "way"),
    [("starttls", "plain"), ("implicit", "login"), ("starttls", "cram-md5"), ("implicit", "scram-sha-256")],
)
def test_sends(tmp_path: Path, account: Account, tls: str, way: str) -> None:
    mutt_send(tmp_path, account, tls, way)
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
    mutt_send(tmp_path, account, "starttls", "plain", other, status=1)
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
    mutt.settings.write_text(SETTINGS + mutt_settings(tmp_path, account, tls, way))
    mutt.box = f"{MUTT_POP3[tls]}://{quote(account.address, safe='')}@127.0.0.1:{account.port('pop3', tls)}"
    assert sorted(mutt.read()) == sorted(unix(octets) for octets in stored)
