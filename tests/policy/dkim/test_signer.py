"""What is signed, what is not, and the form of the field; keys and their records."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mailserver.policy.dkim.head import MAX_HEAD, HeadField
from mailserver.policy.dkim.keys import key_record, read_pem, record_strings, write_pem
from mailserver.policy.dkim.signer import NO_MORE, MessageSigning, why_not_signed
from mailserver.policy.dkim.tags import read_list, read_tags
from tests.support.dkim import NOW, key, signed, signer

HEAD = b"From: a@example.org\r\nTo: b@example.com\r\n"


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (HEAD, None),
        (HEAD + b"\r\nFrom: in the body\r\n", None),
        (b"To: b@example.com\r\n", "the message has no From field"),
        (HEAD + b"FROM : x@example.com\r\n", "the message has 2 From fields"),
        (HEAD * 3, "the message has 3 From fields"),
        (HEAD + b"Subject: a\rFrom: b\r\n", "the header has a CR or LF alone"),
        (HEAD + b"Subject: a\nFrom: b\r\n", "the header has a CR or LF alone"),
        (b"x" * (MAX_HEAD + 1), f"the header has more than {MAX_HEAD} octets"),
    ],
)
def test_what_is_not_signed(head, problem):
    assert why_not_signed(head) == problem
    if problem:
        with pytest.raises(ValueError, match=problem):
            MessageSigning(head, [signer("ed25519")], now=NOW)


def test_the_field():
    message = HEAD + b"Received: x\r\nList-Id: <l>\r\nsubject: 1\r\nX-Other: y\r\n\r\nText\r\n"
    new = signed(message, "ed25519", "rsa").removesuffix(message)
    first, second, rest = re.split(rb"\r\n(?![ \t])", new)
    assert not rest
    assert all(len(line) <= 78 for line in new.split(b"\r\n"))
    for field, algorithm, selector in (
        (first, b"ed25519-sha256", b"s-ed25519"),
        (second, b"rsa-sha256", b"s-rsa"),
    ):
        assert field.startswith(b"DKIM-Signature: v=1; ")
        tags = read_tags(HeadField(b"dkim-signature", field).value)
        fixed = {name: tags[name] for name in ("v", "a", "c", "d", "s", "t")}
        assert fixed == {
            "v": b"1", "a": algorithm, "c": b"relaxed/relaxed", "d": b"example.org", "s": selector,
            "t": b"1700000000",
        }  # fmt: skip
        names = read_list(tags["h"])
        assert sorted(names) == sorted([*NO_MORE, b"from", b"to", b"subject", b"list-id"])


def test_keys():
    for kind, length in (("rsa", 410), ("ed25519", 66)):
        ours = key(kind)
        assert write_pem(read_pem(write_pem(ours))) == write_pem(ours)
        record = key_record(ours)
        strings = record_strings(record)
        assert record.startswith(f"v=DKIM1; k={kind}; p=")
        assert (len(record), "".join(strings)) == (length, record)
        assert [len(string) for string in strings[:-1]] == [255] * (len(strings) - 1)
    assert "PRIVATE" not in repr(signer("rsa"))


def pem(private, form=PrivateFormat.PKCS8, encryption=None) -> bytes:
    return private.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def test_keys_of_other_programs():
    ours = key("rsa")
    assert write_pem(read_pem(pem(ours, PrivateFormat.TraditionalOpenSSL))) == write_pem(ours)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "the file has no private key in PEM"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "the file has no private key in PEM",
        ),
        (lambda: pem(key("ed25519"), encryption=BestAvailableEncryption(b"x")), "the key has a password"),
        (lambda: pem(generate_ec(SECP256R1())), "the key is neither RSA nor Ed25519"),
        (lambda: pem(generate_private_key(65537, 4224)), "the RSA key has 4224 bits; allowed: 1024 to 4096"),
    ],
)
def test_files_that_are_no_key(text, problem):
    with pytest.raises(ValueError, match=problem):
        read_pem(text if isinstance(text, bytes) else text())
