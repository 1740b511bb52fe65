"""What becomes of a signature: each reason of RFC 6376 section 6, and the limits."""

import base64
import time
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailserver.policy.dkim.body import BodyForm, BodyHashes
from mailserver.policy.dkim.head import MAX_HEAD, relaxed_field
from mailserver.policy.dkim.keys import key_record
from mailserver.policy.dkim.signer import Signer
from mailserver.policy.dkim.verifier import MAX_SIGNATURES, Verifier
from tests.support.dkim import DOMAIN, NOW, ZONE, evaluated, key, signed, signer, verified

MESSAGE = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: one\r\n\r\nText.\r\n"
BODY_HASH = BodyHashes([BodyForm(relaxed=True)])
BODY_HASH.feed(b"Text.\r\n")
BH = base64.b64encode(BODY_HASH.finish()[BodyForm(relaxed=True)])
EMPTY_BH = b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
USUAL = {
    "v": b"1", "a": b"ed25519-sha256", "c": b"relaxed/relaxed", "d": DOMAIN.encode(), "s": b"s-ed25519",
    "h": b"from:to:subject", "bh": BH,
}  # fmt: skip
KEY = key_record(key("ed25519")).encode()
NAME = f"s-ed25519._domainkey.{DOMAIN}"


def with_tags(message: bytes = MESSAGE, **changed: bytes | None) -> bytes:
    """The message with a signature that has these tags, made by the Ed25519 key; None removes a tag."""
    tags = {name: value for name, value in {**USUAL, "b": b"", **changed}.items() if value is not None}
    field = b"DKIM-Signature: " + b"; ".join(name.encode() + b"=" + value for name, value in tags.items())
    if "b" not in changed:
        field = field.replace(b"; b=", b"") + b"; b="
        lines = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
        covered = b"".join(relaxed_field(line) + b"\r\n" for line in lines)
        field += base64.b64encode(signer("ed25519").sign(covered + relaxed_field(field)))
    return field + b"\r\n" + message


def test_the_helper_signs():
    assert [one.result for one in verified(with_tags())] == ["pass"]


@pytest.mark.parametrize(
    ("tags", "result", "reason"),
    [
        ({"i": b"a@sub.example.org"}, "pass", ""),
        ({"i": b"joe@EXAMPLE.org"}, "pass", ""),
        ({"d": b"EXAMPLE.org"}, "pass", ""),
        ({"t": b"1699999999", "x": b"1700000001"}, "pass", ""),
        ({"q": b"dns/other : dns/txt"}, "pass", ""),
        ({"future": b"some value"}, "pass", ""),
        ({"l": b"0", "bh": EMPTY_BH}, "pass", ""),
        ({"l": b"7"}, "pass", ""),
        ({"l": b"8"}, "fail", "body is shorter than signed"),
        ({"l": b"9" * 76}, "fail", "body is shorter than signed"),
        ({"l": b"9" * 77}, "neutral", "malformed l=, bh= or b="),
        ({"l": b"-1"}, "neutral", "malformed l=, bh= or b="),
        ({"l": b"6"}, "fail", "body hash does not match"),
        ({"bh": b"%%%"}, "neutral", "malformed l=, bh= or b="),
        ({"bh": EMPTY_BH}, "fail", "body hash does not match"),
        ({"b": b"AAAA"}, "fail", "signature does not match"),
        ({"b": b""}, "fail", "signature does not match"),
        ({"b": b"\xff"}, "neutral", "malformed l=, bh= or b="),
        ({"v": b"2"}, "permerror", "incompatible version"),
        ({"v": None}, "permerror", "missing v="),
        ({"bh": None}, "permerror", "missing bh="),
        ({"b": None}, "permerror", "missing b="),
        ({"h": b"to:subject"}, "permerror", "From is not signed"),
        ({"a": b"rsa-sha1"}, "permerror", "obsolete algorithm rsa-sha1"),
        ({"a": b"rsa-md5"}, "permerror", "unknown algorithm"),
        ({"a": b"rsa-sha256"}, "permerror", "key is for another algorithm"),
        ({"c": b"relaxed/nofws"}, "permerror", "unknown canonicalization"),
        ({"c": b"simple"}, "fail", "signature does not match"),
        ({"q": b"http"}, "permerror", "no known query method"),
        ({"d": b"org"}, "neutral", "malformed d="),
        ({"d": b"[192.0.2.1]"}, "neutral", "malformed d="),
        ({"d": b"a b.example"}, "neutral", "malformed d="),
        ({"d": b"x" * 64 + b".example"}, "neutral", "malformed d="),
        ({"s": b"a/b"}, "neutral", "malformed s="),
        ({"s": b""}, "neutral", "malformed s="),
        ({"i": b"a@example.com"}, "permerror", "i= is not within d="),
        ({"i": b"a@badexample.org"}, "permerror", "i= is not within d="),
        ({"i": b"example.org"}, "neutral", "malformed i="),
        ({"x": b"1699990000"}, "fail", "signature has expired"),
        ({"t": b"1700001000"}, "fail", "signed in the future"),
        ({"t": b"1700000100", "x": b"1700000000"}, "neutral", "x= is before t="),
        ({"t": b"soon"}, "neutral", "malformed t= or x="),
        ({"d": b"elsewhere.example"}, "permerror", "no key"),
    ],
)
def test_tags(tags, result, reason):
    (found,) = verified(with_tags(**tags))
    assert (found.result, found.reason) == (result, reason)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"v=1; v=1", "duplicate tag v="),
        (b"v=1; ; a=b", "malformed tag list"),
        (b"", "missing v="),
        (b"nonsense", "malformed tag list"),
        (b"1=2", "malformed tag list"),
        (b"v=\x00", "malformed tag list"),
    ],
)
def test_malformed_lists(field, reason):
    (found,) = verified(b"DKIM-Signature: " + field + b"\r\n" + MESSAGE)
    assert (found.result, found.reason) == ("permerror" if "missing" in reason else "neutral", reason)


def rsa_record(bits: int) -> bytes:
    public = generate_private_key(65537, bits).public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"p=" + base64.b64encode(octets)


def ed448_record() -> bytes:
    public = Ed448PrivateKey.generate().public_key()
    return b"p=" + base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


P = KEY.partition(b"p=")[2]


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        (b"k=ed25519;p=KEY", "pass", ""),
        (b"v = DKIM1 ; k=ed25519; h=sha1:sha256; s=other:email; n=notes; g=nobody; p=KEY", "pass", ""),
        (b"k=ed25519; s=*; t=y; p=KEY", "pass", ""),
        (b"k=ed25519; p= KEY \t", "pass", ""),
        (b"k=ed25519; t=s; p=KEY", "permerror", "i= is not in the domain d= itself"),
        (b"v=DKIM1; k=ed25519; p=", "permerror", "key is revoked"),
        (b"v=DKIM1; k=ed25519", "permerror", "malformed key record"),
        (b"k=ed25519; v=DKIM1; p=KEY", "permerror", "key record of another version"),
        (b"v=DKIM2; k=ed25519; p=KEY", "permerror", "key record of another version"),
        (b"k=ed25519; h=sha1; p=KEY", "permerror", "key is for another hash algorithm"),
        (b"k=ed25519; s=tlsrpt; p=KEY", "permerror", "key is not for mail"),
        (b"p=KEY", "permerror", "key is for another algorithm"),
        (b"k=ed25519; p=AAAA", "permerror", "malformed key"),
        (b"k=ed25519; p=?", "permerror", "malformed key"),
        (b"v=spf1 -all", "permerror", "key record of another version"),
        (b"anything", "permerror", "malformed key record"),
        (b"k=ed25519; p=" + base64.b64encode(bytes(31) + b"\x02"), "fail", "signature does not match"),
    ],
)
def test_key_records(record, result, reason):
    message = with_tags(i=b"a@sub.example.org")
    (found,) = verified(message, {NAME: [record.replace(b"KEY", P[:10] + b" " + P[10:])]})
    assert (found.result, found.reason) == (result, reason)


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        (partial(rsa_record, 1024), "fail", "signature does not match"),
        (partial(rsa_record, 4096), "fail", "signature does not match"),
        (partial(rsa_record, 4224), "policy", "RSA key of 4224 bits is too long"),
        (ed448_record, "permerror", "key is for another algorithm"),
        (b"p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANmBe10IgY+u7h3enWTukkqtUD5PR52Tb/mPfjC0QJTocVBq6Za/PlzfV+Py92Va"
         b"Cak19F4WrbVTK5Gg5tW220MCAwEAAQ==", "policy", "RSA key of 512 bits is too weak"),
        (b"p=AAAA", "permerror", "malformed key"),
    ],
)  # fmt: skip
def test_rsa_keys(record, result, reason):
    octets = record if isinstance(record, bytes) else record()
    (found,) = verified(with_tags(a=b"rsa-sha256"), {NAME: [octets]})
    assert (found.result, found.reason) == (result, reason)


def test_an_rsa_key_may_be_published_without_its_frame():
    """PKCS #1, as in some records of old (RFC 6376 section 3.6.1 refers to RFC 3447)."""
    ours = key("rsa")
    assert isinstance(ours, RSAPrivateKey)
    octets = ours.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    zone = {f"s-rsa._domainkey.{DOMAIN}": [b"p=" + base64.b64encode(octets)]}
    assert [one.result for one in verified(signed(MESSAGE, "rsa"), zone)] == ["pass"]


def test_dns():
    message = with_tags()
    (found,) = verified(message, {NAME: None})
    assert (found.result, found.reason) == ("temperror", "key could not be looked up")
    (found,) = verified(message, {NAME: [b"v=spf1 -all", KEY]})
    assert found.result == "pass"
    (found,) = verified(message, {NAME: [b"k=ed25519; t=y; p=" + P]})
    assert (found.result, found.testing) == ("pass", True)
    (found,) = verified(message.replace(b"Text", b"Test"), {NAME: [b"k=ed25519; t=y; p=" + P]})
    assert (found.result, found.reason) == ("neutral", "body hash does not match, in a test")
    (found,) = verified(with_tags(i=b"a@sub.example.org"), {NAME: [b"k=ed25519; t=y:s; p=" + P]})
    assert found.result == "permerror"


def test_each_key_is_asked_for_once_and_before_the_body():
    message = with_tags()
    head = message[: message.index(b"From:")] * 3 + b"From: a@example.org\r\n"
    asked: list[str] = []
    evaluated(Verifier(head, now=NOW).evaluate(), ZONE, asked)
    assert asked == [NAME]


def test_only_so_many_signatures_are_checked():
    message = with_tags()
    assert len(verified(message[: message.index(b"From:")] * 20 + MESSAGE)) == MAX_SIGNATURES


@pytest.mark.parametrize("message", [MESSAGE, b"\r\n" + MESSAGE, b"", b"no header\r\n\r\n"])
def test_messages_without_a_signature_have_no_result(message):
    assert verified(message) == ()


@pytest.mark.parametrize(
    "head",
    [
        b"a:\r\n" * (MAX_HEAD // 4),
        b"a:\r\n" * (MAX_HEAD // 5) + b"DKIM-Signature: v=1; h=" + b"a:" * 20_000 + b"\r\n",
        b"DKIM-Signature:" + b"a;" * 60_000 + b"\r\n",
        b"DKIM-Signature:" + b"\r\n " * 60_000 + b"\r\n",
        b"DKIM-Signature: b" + b" " * 200_000 + b"\r\n",
    ],
)
def test_hostile_headers_take_no_time(head):
    begin = time.process_time()
    verified(head + MESSAGE)
    assert time.process_time() - begin < 2


def test_a_header_may_be_too_large():
    (found,) = verified(b"X: " + b"x" * MAX_HEAD + b"\r\n" + with_tags())
    assert (found.result, found.reason) == ("policy", f"header of more than {MAX_HEAD} octets")


def test_fields_are_taken_from_the_bottom():
    below = MESSAGE.replace(b"\r\n\r\n", b"\r\nX-Other: 1\r\n\r\n")
    by = Signer(DOMAIN, "s-ed25519", key("ed25519"))
    message = signed(below, by=by)
    assert [one.result for one in verified(message)] == ["pass"]
    for added in (b"Subject: two\r\n", b"From: x@example.com\r\n", b"Reply-To: x@example.com\r\n"):
        assert [one.reason for one in verified(added + message)] == ["signature does not match"]
        assert [one.result for one in verified(message.replace(b"X-Other", added + b"X-Other"))] == ["fail"]
    assert [
        one.result for one in verified(b"Received: x\r\nX-New: y\r\nSender: s@example.com\r\n" + message)
    ] == ["pass"]


def test_a_signature_does_not_cover_itself():
    """If it names DKIM-Signature, it means the others."""
    names = b"from:to:subject:dkim-signature"
    assert [one.result for one in verified(with_tags(h=names))] == ["pass"]
    below = with_tags(MESSAGE.replace(b"\r\n\r\n", b"\r\nDKIM-Signature: old\r\n\r\n"), h=names)
    assert [one.result for one in verified(below)] == ["pass", "neutral"]


def test_lines_without_a_colon_are_not_covered():
    message = with_tags(h=b"from:to:subject:").replace(b"To:", b"no field\r\nTo:")
    assert [one.result for one in verified(message)] == ["pass"]


def test_odd_field_names_and_internationalized_domains():
    """White space before a colon (RFC 5322 section 4.5), and names in UTF-8 (RFC 8616)."""
    assert [one.result for one in verified(with_tags(MESSAGE.replace(b"Subject:", b"SUBJECT \t:")))] == [
        "pass"
    ]
    message = with_tags(d="b\u00fccher.example".encode(), i="\u00fc@b\u00fccher.example".encode())
    (found,) = verified(message, {"s-ed25519._domainkey.xn--bcher-kva.example": [KEY]})
    assert (found.result, found.domain) == ("pass", "xn--bcher-kva.example")
