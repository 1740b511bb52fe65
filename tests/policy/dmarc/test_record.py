"""DMARC policy records: the grammar, defaults, and what is ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.dmarc.record import DMARCRecord, read_dmarc


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("v=DMARC1", {}),
        ("v=DMARC1;", {}),
        ("v = DMARC1 ;p = reject ; ", {"policy": "reject", "subdomains": "reject", "missing": "reject"}),
        ("V=DMARC1; P=Reject", {"policy": "reject", "subdomains": "reject", "missing": "reject"}),
        ("v=DMARC1; sp=quarantine", {"subdomains": "quarantine", "missing": "quarantine"}),
        ("v=DMARC1; np=reject; sp=quarantine", {"subdomains": "quarantine", "missing": "reject"}),
        ("v=DMARC1; adkim=s; aspf=s; t=y; psd=y", {
            "strict_dkim": True, "strict_spf": True, "testing": True, "psd": "y",
        }),
        ("v=DMARC1; adkim=r; aspf=x; t=maybe; psd=q; pct=50; new=thing", {}),
        ("v=DMARC1; psd=n; ;;=; x; \x01=2; rua=mailto:a@example.com!10m,https://x.example/", {
            "psd": "n", "rua": ("mailto:a@example.com!10m", "https://x.example/"),
        }),
        ("v=DMARC1; p=reject; p=none", {"policy": "reject", "subdomains": "reject", "missing": "reject"}),
        ("v=DMARC1; p=block", {"usable": False}),
        ("v=DMARC1; p=", {"usable": False}),
        ("v=DMARC1; p=reject; sp=block", {"usable": False}),
        ("v=DMARC1; p=reject; np=block; rua=nonsense", {"usable": False}),
        ("v=DMARC1; p=reject; np=block; rua=nonsense , mailto:A@example.com", {
            "rua": ("mailto:A@example.com",),
        }),
        ("v=DMARC1; RUA=" + ",".join(f"mailto:{n}@example.com" for n in range(9)), {
            "rua": tuple(f"mailto:{n}@example.com" for n in range(5)),
        }),
        (f"v=DMARC1; rua=mailto:{'a' * 400}@example.com", {}),
    ],
)  # fmt: skip
def test_records(text, changed):
    assert read_dmarc(text.encode(), "example.com") == DMARCRecord(domain="example.com", **changed)


@pytest.mark.parametrize(
    "text",
    [b"", b"v=DMARC2", b"v=dmarc1; p=reject", b"p=reject; v=DMARC1", b" v=DMARC1", b"v=DMARC11", b"\xff"],
)
def test_other_records(text):
    assert read_dmarc(text, "example.com") is None


@given(st.binary(), st.text("pstn=;: rejct", max_size=40))
def test_any_record_is_read(octets, text):
    for rest in (octets, text.encode()):
        found = read_dmarc(b"v=DMARC1;" + rest, "example.com")
        assert found is not None and found.policy in ("none", "quarantine", "reject")
