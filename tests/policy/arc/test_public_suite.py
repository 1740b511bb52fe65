"""The situations of the public test suite for the validation of ARC chains, under their names there.

No package of a registry has the suite, so the messages are made and signed here. Each has the expected
result, and where the chain is broken the reason, so that nothing fails for another one.
"""

import re
from collections.abc import Callable
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
)

from mailserver.policy.dkim.keys import key_record
from mailserver.policy.dkim.signer import Signer
from tests.support.arc import (
    MESSAGE,
    RESULTS,
    SEAL,
    SIGNATURE,
    Layout,
    Tags,
    chain,
    checked,
    field,
    first,
    fold,
    sealed,
    second,
    without,
)
from tests.support.dkim import DOMAIN, ZONE, key

BASE2 = (
    b"MIME-Version: 1.0\r\nReceived: from a by b\r\nFrom: A <a@example.org>\r\n"
    b"To: b@example.com,\r\n\tc@example.com\r\n"
    b"Subject: =?utf-8?q?two?=\r\nContent-Type: text/plain\r\n\r\nA  longer \t text.\r\n\r\n.\r\n\r\n"
)
WIDE: Layout = (" ; ", "=", "")
SPACED: Layout = ("; ", " = ", "")
ENDED: Layout = ("; ", "=", ";")
DOUBLED: Layout = (";; ", "=", "")

PASS, NONE = "pass", "none"
SIZES = (512, 1024, 2048)
Make = Callable[[], bytes]


@cache
def weak(bits: int) -> Signer:
    """A key of this size; the library makes none of 512 bits any more."""
    if bits > 512:
        return Signer(DOMAIN, f"weak{bits}", generate_private_key(65537, bits))
    p = 0xFAAC928B5507D5422DEBAA5C32B9C38929483BBDD3449ED1497E163C16060909
    q = 0xFF260A5F80AF87B390F1BF6DAEC9A7636A62978071D480074A8A3B1BC80F1B75
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = RSAPublicNumbers(65537, p * q)
    numbers = RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return Signer(DOMAIN, f"weak{bits}", numbers.private_key())


def by(bits: int) -> Make:
    return lambda: sealed(MESSAGE, 1, sealer=weak(bits), seal={"s": f"weak{bits}"})


def signature(layout: Layout = ("; ", "=", ""), **tags: str | None) -> Make:
    """A chain of one set, with other tags in its signature. The name of a tag may have a trailing _."""
    return lambda: sealed(MESSAGE, 1, signature=_named(tags), signature_layout=layout)


def seal(layout: Layout = ("; ", "=", ""), **tags: str | None) -> Make:
    """The same for the seal."""
    return lambda: sealed(MESSAGE, 1, seal=_named(tags), seal_layout=layout)


def results(text: bytes) -> Make:
    return lambda: sealed(MESSAGE, 1, results=text)


def _named(tags: Tags) -> Tags:
    return {name.rstrip("_"): value for name, value in tags.items()}


def changed(make: Make, before: bytes, after: bytes) -> Make:
    """A message that has changed on its way."""

    def change() -> bytes:
        message = make()
        assert before in message
        return message.replace(before, after, 1)

    return change


def retagged(make: Make, name: str, tag: bytes, change: Callable[[bytes], bytes], instance: int = 1) -> Make:
    """The value of a tag has changed on its way."""

    def made() -> bytes:
        message = make()
        old = field(message, name, instance)
        new = re.sub(
            rb"(?<=; %b=)[^;]*?(?=;|\r\n\Z)" % tag,
            lambda found: change(found[0]),
            old,
            count=1,
            flags=re.DOTALL,
        )
        assert new != old
        return message.replace(old, new, 1)

    return made


def spoiled(value: bytes) -> bytes:
    return (b"B" if value[:1] == b"A" else b"A") + value[1:]


def twice(name: str, instance: int, length: int) -> Make:
    return lambda: field(message := chain(length), name, instance) + message


def gone(name: str, instance: int, length: int) -> Make:
    return lambda: without(chain(length), name, instance)


def body_hash() -> bytes:
    """That of the message, as a signature has it."""
    found = re.search(rb"bh=([^;]+);", field(first(), SIGNATURE, 1))
    assert found is not None
    return found[1]


def covering(h: str, message: bytes = MESSAGE) -> Make:
    return lambda: sealed(message, 1, signature={"h": h})


def canonical(form: str, body: bytes = b"One  two.\r\n", then: bytes | None = None) -> Make:
    """``body`` is signed, and arrives as ``then``."""
    head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def made() -> bytes:
        message = sealed(head + body, 1, signature={"c": form})
        return message if then is None else message.removesuffix(body) + then

    return made


one, two = first, second
REPEATED = MESSAGE.replace(b"Subject: one\r\n", b"Subject: one\r\nSubject: other\r\n")
SWAPPED = b"Subject: one\r\nSubject: other\r\n", b"Subject: other\r\nSubject: one\r\n"
SPACES = MESSAGE.replace(b"Subject: one", b"Subject: o n e")
RESULT = "arc-authentication-results has no valid instance"
BODY, MISMATCH = (
    "signature of set 1: body hash does not match",
    "signature of set 1: signature does not match",
)
SEALED = "seal of set 1: signature does not match"
LIST = "malformed tag list"
CHAIN: dict[str, tuple[str, Make]] = {
    "cv_empty": (NONE, lambda: b""),
    "cv_no_headers": (NONE, lambda: b"\r\nText.\r\n"),
    "cv_no_body": (NONE, lambda: MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n"),
    "cv_base1": (NONE, lambda: MESSAGE),
    "cv_base2": (NONE, lambda: BASE2),
    "cv_pass_i1_1": (PASS, one),
    "cv_pass_i1_2": (PASS, lambda: sealed(BASE2, 1)),
    "cv_pass_i2_1": (PASS, two),
    "cv_pass_i2_2": (PASS, lambda: sealed(sealed(BASE2, 1), 2)),
    "cv_pass_i2_1_ams1_invalid": (PASS, lambda: sealed(one().replace(b"From: a@", b"From: b@"), 2)),
    "cv_pass_i3_1": (PASS, lambda: chain(3)),
    "cv_pass_i4_1": (PASS, lambda: chain(4)),
    "cv_pass_i5_1": (PASS, lambda: chain(5)),
    "cv_fail_i1_ams_na": ("set 1 is not complete", gone(SIGNATURE, 1, 1)),
    "cv_fail_i1_ams_invalid": (MISMATCH, retagged(one, SIGNATURE, b"b", spoiled)),
    "cv_fail_i1_as_na": ("set 1 is not complete", gone(SEAL, 1, 1)),
    "cv_fail_i1_as_pass": ("the seal of set 1 does not say cv=none", seal(cv="pass")),
    "cv_fail_i1_as_cv_fail": ("the seal of set 1 does not say cv=none", seal(cv="fail")),
    "cv_fail_i1_as_invalid": (SEALED, retagged(one, SEAL, b"b", spoiled)),
    "cv_fail_i2_ams_na": ("set 2 is not complete", gone(SIGNATURE, 2, 2)),
    "cv_fail_i2_ams_invalid": (
        "signature of set 2: signature does not match", retagged(two, SIGNATURE, b"b", spoiled, 2)
    ),
    "cv_fail_i2_as2_na": ("set 2 is not complete", gone(SEAL, 2, 2)),
    "cv_fail_i2_as2_invalid": (SEALED.replace("1", "2"), retagged(two, SEAL, b"b", spoiled, 2)),
    "cv_fail_i2_as2_none": ("the seal of set 2 does not say cv=pass", lambda: two(seal={"cv": "none"})),
    "cv_fail_i2_as2_fail": ("the seal of set 2 does not say cv=pass", lambda: two(seal={"cv": "fail"})),
    "cv_fail_i2_as1_na": ("set 1 is not complete", gone(SEAL, 1, 2)),
    "cv_fail_i2_as1_invalid": (SEALED, lambda: sealed(retagged(one, SEAL, b"b", spoiled)(), 2)),
    "cv_fail_i2_as1_pass": (
        "the seal of set 1 does not say cv=none", lambda: sealed(one(seal={"cv": "pass"}), 2)
    ),
    "cv_fail_i2_as1_fail": (
        "the seal of set 1 does not say cv=none", lambda: sealed(one(seal={"cv": "fail"}), 2)
    ),
    "public_key_na": ("seal of set 1: no key", seal(s="nothing")),
    "public_key_invalid": ("seal of set 1: malformed key", seal(s="broken")),
    "ams_as_diff_s_d": (PASS, lambda: sealed(MESSAGE, 1, seal={"d": "other.example", "s": "x"})),
}  # fmt: skip


def set_structure(
    prefix: str, name: str, make: Callable[..., Make], instance: str
) -> dict[str, tuple[str, Make]]:
    """The six situations of one kind of field."""
    kind = name.lower()
    return {
        f"{prefix}_struct_i_na": (instance, make(i=None)),
        f"{prefix}_struct_i_empty": (instance, make(i="")),
        f"{prefix}_struct_i_zero": (instance, make(i="0")),
        f"{prefix}_struct_i_invalid": (instance, make(i="x1")),
        f"{prefix}_struct_dup": (f"{kind} occurs twice in set 1", twice(name, 1, 1)),
        f"{prefix}_struct_missing": ("set 1 is not complete", gone(name, 1, 1)),
    }


def formats(prefix: str, make: Callable[..., Make], name: str) -> dict[str, tuple[str, Make]]:
    """White space, separators, unknown tags, letters."""
    kind = "seal" if name == SEAL else "signature"
    return {
        f"{prefix}_format_sc_wsp": (PASS, make(WIDE)),
        f"{prefix}_format_eq_wsp": (PASS, make(SPACED)),
        f"{prefix}_format_tags_trail_sc": (PASS, make(ENDED)),
        f"{prefix}_format_tags_unknown": (PASS, make(new="some value")),
        f"{prefix}_format_inv_tag_key": (LIST, make(**{"1x": "y"})),
        f"{prefix}_format_tags_dup": ("duplicate tag d=", make(**{"d ": DOMAIN})),
        f"{prefix}_format_tags_key_case": ("no valid instance", make(i=None, I="1")),
        f"{prefix}_format_tags_val_case": (
            f"{kind} of set 1: signature does not match",
            retagged(first, name, b"d", bytes.upper),
        ),
        f"{prefix}_format_tags_wsp": (f"unusable {kind}: malformed d=", make(d="exam ple.org")),
        f"{prefix}_format_tags_sc": (LIST, make(DOUBLED)),
    }


def required(prefix: str, make: Callable[..., Make], field: str) -> dict[str, tuple[str, Make]]:
    """Tags that both fields have."""
    bad = f"unusable {field}: "
    return {
        f"{prefix}_fields_a_sha1": (bad + "obsolete algorithm rsa-sha1", make(a="rsa-sha1")),
        f"{prefix}_fields_a_na": (bad + "missing a=", make(a=None)),
        f"{prefix}_fields_a_empty": (bad, make(a="")),
        f"{prefix}_fields_a_unknown": (bad, make(a="poem-sha256")),
        f"{prefix}_fields_b_na": (bad + "missing b=", make(b=None)),
        f"{prefix}_fields_b_empty": (f"{field} of set 1: signature does not match", make(b="")),
        f"{prefix}_fields_b_base64": (bad, make(b="not base64!")),
        f"{prefix}_fields_d_na": (bad + "missing d=", make(d=None)),
        f"{prefix}_fields_d_empty": (bad, make(d="")),
        f"{prefix}_fields_d_invalid": (bad, make(d="no/domain")),
        f"{prefix}_fields_s_na": (bad + "missing s=", make(s=None)),
        f"{prefix}_fields_s_empty": (bad, make(s="")),
        f"{prefix}_fields_t_na": (PASS, make(t=None)),
        f"{prefix}_fields_t_empty": (bad, make(t="")),
        f"{prefix}_fields_t_invalid": (bad, make(t="12h")),
    }


AMS: dict[str, tuple[str, Make]] = {
    "ams_fields_i_dup1": ("occurs twice in set 1", twice(SIGNATURE, 1, 1)),
    "ams_fields_i_dup2": (
        "occurs twice in set 1", lambda: one().replace(b"From:", field(one(), SIGNATURE, 1) + b"From:", 1)
    ),
    "ams_fields_b_ignores_wsp": (PASS, lambda: sealed(MESSAGE, 1, fold=SIGNATURE)),
    "ams_fields_b_head_case": (PASS, changed(one, b"Subject: one", b"SUBJECT: one")),
    "ams_fields_b_head_unfold": (PASS, changed(one, b"To: b@example.com", b"To:\r\n b@example.com")),
    "ams_fields_b_eol_wsp": (PASS, changed(one, b"Subject: one", b"Subject: one \t ")),
    "ams_fields_b_inl_wsp": (PASS, changed(lambda: sealed(SPACES, 1), b"o n e", b"o \t n  e")),
    "ams_fields_b_col_wsp": (PASS, changed(one, b"Subject: one", b"Subject \t:  one")),
    "ams_fields_b_mod_sig": (MISMATCH, retagged(one, SIGNATURE, b"b", spoiled)),
    "ams_fields_b_mod_headers1": (MISMATCH, changed(one, b"Subject: one", b"Subject: two")),
    "ams_fields_b_mod_headers2": (MISMATCH, changed(one, b"To: b@", b"To: c@")),
    "ams_fields_bh_ignores_wsp": (PASS, lambda: one(signature={"bh": fold(body_hash()).decode()})),
    "ams_fields_bh_sim_base": (PASS, canonical("relaxed/simple")),
    "ams_fields_bh_sim_end_lines": (PASS, canonical("relaxed/simple", then=b"One  two.\r\n\r\n\r\n")),
    "ams_fields_bh_sim_inl_wsp": (BODY, canonical("relaxed/simple", then=b"One two.\r\n")),
    "ams_fields_bh_rel_eol_wsp": (PASS, canonical("relaxed/relaxed", then=b"One  two. \t\r\n")),
    "ams_fields_bh_rel_inl_wsp": (PASS, canonical("relaxed/relaxed", then=b"One \t two.\r\n")),
    "ams_fields_bh_rel_end_lines": (PASS, canonical("relaxed/relaxed", then=b"One  two.\r\n\r\n\r\n")),
    "ams_fields_bh_rel_trail_crlf": (PASS, canonical("relaxed/relaxed", then=b"One  two.")),
    "ams_fields_bh_na": ("unusable signature: missing bh=", signature(bh=None)),
    "ams_fields_bh_empty": (BODY, signature(bh="")),
    "ams_fields_bh_base64": ("unusable signature: ", signature(bh="not base64!")),
    "ams_fields_bh_mod_sig": (BODY, lambda: one(signature={"bh": spoiled(body_hash()).decode()})),
    "ams_fields_bh_mod_body": (BODY, changed(one, b"Text.", b"Test.")),
    "ams_fields_c_na": (PASS, signature(c=None)),
    "ams_fields_c_empty": ("unusable signature: ", signature(c="")),
    "ams_fields_c_rr": (PASS, canonical("relaxed/relaxed")),
    "ams_fields_c_rs": (PASS, canonical("relaxed/simple")),
    "ams_fields_c_sr": (PASS, canonical("simple/relaxed")),
    "ams_fields_c_ss": (PASS, canonical("simple/simple")),
    "ams_fields_c_invalid": ("unusable signature: ", signature(c="tight/loose")),
    "ams_fields_h_empty": (PASS, covering("")),
    "ams_fields_h_cws1": (PASS, covering("from : to\t:  subject")),
    "ams_fields_h_cws2": (PASS, covering("from:\r\n\tto\r\n :subject")),
    "ams_fields_h_case": (PASS, covering("FROM:To:sUBJECT")),
    "ams_fields_h_dup1": (PASS, covering("from:subject:subject", REPEATED)),
    "ams_fields_h_non_existant": (PASS, covering("from:x-nothing")),
    "ams_fields_h_mis_hdr": (PASS, covering("from::subject")),
    "ams_fields_h_non_existant_dup": (PASS, covering("from:x-nothing:x-nothing")),
    "ams_fields_h_includes_ams": (PASS, lambda: second(signature={"h": "from:arc-message-signature"})),
    "ams_fields_h_na": ("unusable signature: missing h=", signature(h=None)),
    "ams_fields_h_dup2": (MISMATCH, changed(covering("from:subject", REPEATED), *SWAPPED)),
    "ams_fields_h_order": (MISMATCH, retagged(one, SIGNATURE, b"h", lambda h: b"subject:to:from")),
    "ams_fields_h_empty_added": (
        MISMATCH, changed(covering("from:mime-version"), b"From:", b"MIME-Version: 1.0\r\nFrom:")
    ),
    "ams_fields_h_includes_as": ("a signature covers a seal", covering("from:arc-seal")),
}  # fmt: skip
AS: dict[str, tuple[str, Make]] = {
    "as_fields_i_dup": ("occurs twice in set 1", twice(SEAL, 1, 1)),
    "as_fields_i_dup2": ("occurs twice in set 2", twice(SEAL, 2, 2)),
    "as_fields_i_missing": ("set 1 is not complete", gone(SEAL, 1, 3)),
    "as_fields_b_ignores_wsp": (PASS, lambda: sealed(MESSAGE, 1, fold=SEAL)),
    "as_fields_b_head_case": (PASS, changed(one, b"ARC-Authentication-R", b"Arc-authentication-R")),
    "as_fields_b_head_unfold": (PASS, changed(one, b"i=1; forwarder1;", b"i=1;\r\n\tforwarder1;")),
    "as_fields_b_eol_wsp": (PASS, changed(one, b"forwarder1; spf=pass\r\n", b"forwarder1; spf=pass \t\r\n")),
    "as_fields_b_inl_wsp": (PASS, changed(one, b"forwarder1; spf", b"forwarder1;\t  spf")),
    "as_fields_b_col_wsp": (PASS, changed(one, b"ion-Results: i=1", b"ion-Results \t:  i=1")),
    "as_fields_b_512": ("RSA key of 512 bits is too weak", by(512)),
    "as_fields_b_1024": (PASS, by(1024)),
    "as_fields_b_2048": (PASS, by(2048)),
    "as_fields_b_mod_sig": (SEALED, retagged(one, SEAL, b"b", spoiled)),
    "as_fields_b_aar1": (SEALED, changed(two, b"forwarder1;", b"forwarder3;")),
    "as_fields_b_ams1": (SEALED, retagged(two, SIGNATURE, b"b", spoiled)),
    "as_fields_b_asb1": (SEALED, retagged(two, SEAL, b"b", spoiled)),
    "as_fields_cv_na": ("does not say cv=none", seal(cv=None)),
    "as_fields_cv_empty": ("does not say cv=none", seal(cv="")),
    "as_fields_cv_invalid": ("does not say cv=none", seal(cv="maybe")),
    "as_fields_h_present": ("a seal has h=", seal(h="from")),
}  # fmt: skip
AAR: dict[str, tuple[str, Make]] = {
    "aar_struct_i_na": (RESULT, results(b"lists.example; spf=pass")),
    "aar_struct_i_empty": (RESULT, results(b"i=; lists.example; spf=pass")),
    "aar_struct_i_zero": (RESULT, results(b"i=0; lists.example; spf=pass")),
    "aar_struct_invalid": (RESULT, results(b"i=x1; lists.example; spf=pass")),
    "aar_struct_dup": ("occurs twice in set 1", twice(RESULTS, 1, 1)),
    "aar_struct_missing": ("set 1 is not complete", gone(RESULTS, 1, 1)),
    "aar_missing": ("set 1 is not complete", gone(RESULTS, 1, 2)),
    "aar_i_missing": (RESULT, results(b"lists.example; none")),
    "aar_i_wrong": ("set 1 is not complete", results(b"i=2; lists.example; spf=pass")),
    "aar_i_not_prefixed": (RESULT, results(b"lists.example; i=1; spf=pass")),
    "aar_i_no_semi": (RESULT, results(b"i=1 lists.example; spf=pass")),
    "aar2_missing": ("set 2 is not complete", gone(RESULTS, 2, 2)),
}  # fmt: skip
SITUATIONS = {
    **CHAIN,
    **set_structure("ams", SIGNATURE, signature, "arc-message-signature has no valid instance"),
    **formats("ams", signature, SIGNATURE),
    **required("ams", signature, "signature"),
    **AMS,
    **set_structure("as", SEAL, seal, "arc-seal has no valid instance"),
    **formats("as", seal, SEAL),
    **required("as", seal, "seal"),
    **AS,
    **AAR,
}


def zone() -> dict[str, list[bytes]]:
    return {
        **ZONE,
        "x._domainkey.other.example": [key_record(key("rsa")).encode()],
        f"broken._domainkey.{DOMAIN}": [b"v=DKIM1; p=AAAA"],
    }


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation(name: str) -> None:
    expected, make = SITUATIONS[name]
    message = make()
    keys = {
        f"weak{bits}._domainkey.{DOMAIN}": [key_record(weak(bits).key).encode()]
        for bits in SIZES
        if f"s=weak{bits};".encode() in message
    }
    found = checked(message, {**zone(), **keys})
    if expected in (PASS, NONE):
        assert (found.result, found.reason) == (expected, "")
    else:
        assert found.result == "fail" and expected in found.reason


def test_all_situations_are_here() -> None:
    """The suite has 171."""
    assert len(SITUATIONS) == 171
