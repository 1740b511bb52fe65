"""Records and policies of MTA-STS, many of them from RFC 8461, and the names of hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.delivery.tls_policy.sts_policy import LONGEST_AGE, STSPolicy, parse_policy, record_id


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),  # section 3.1
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 ;\tid=1 ; new=x"], "1"),
        ([b"v=STSv1; new=x; id=1; id=2"], "1"),
        ([b"v=spf1 -all", b"v=STSv1; id=1"], "1"),
        ([], None),
        ([b""], None),
        ([b"v=STSv1; id=1", b"v=STSv1; id=1"], None),
        ([b"v=STSv1"], None),
        ([b"v=STSv1;"], None),
        ([b"v=STSv12; id=1"], None),
        ([b" v=STSv1; id=1"], None),
        ([b"v=STSv1; id=a-b"], None),
        ([b"v=STSv1; id="], None),
        ([b"v=STSv1; id=" + b"1" * 33], None),
        ([b"v=STSv1; id=\xff"], None),
    ],
)
def test_record(texts: list[bytes], expected: str | None) -> None:
    assert record_id(texts) == expected


EXAMPLE = b"""version: STSv1
mode: enforce
mx: mail.example.com
mx: *.example.net
mx: backupmx.example.com
max_age: 604800
"""


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"new: field\n\n"])
def test_policy(line_end: bytes, end: bytes) -> None:
    policy = parse_policy((EXAMPLE.rstrip() + b"\n" + end).replace(b"\n", line_end))
    assert policy == STSPolicy(
        "enforce", ("mail.example.com", "*.example.net", "backupmx.example.com"), 604800
    )
    assert parse_policy("\n".join(policy.lines).encode()) == policy


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((b"enforce", b"testing"), STSPolicy("testing", ("mail.example.com",), 604800)),
        (
            (b"max_age: 604800", b"max_age: 9999999999"),
            STSPolicy("enforce", ("mail.example.com",), LONGEST_AGE),
        ),
        ((b"max_age: 604800", b"max_age:\t0 "), STSPolicy("enforce", ("mail.example.com",), 0)),
        ((b"mail.example", b"MAIL.Example"), STSPolicy("enforce", ("mail.example.com",), 604800)),
        ((b"mode", b"mode: none\nmode"), STSPolicy("none", ("mail.example.com",), 604800)),
        ((b"mx: mail.example.com\n", b"mode: none\n"), "mx"),
        ((b"mode: enforce\nmx: mail.example.com", b"mode: none"), STSPolicy("none", (), 604800)),
        ((b"STSv1", b"STSv2"), "version"),
        ((b"version: STSv1", b""), "version"),
        ((b"enforce", b"Enforce"), "mode"),
        ((b"mode: enforce", b""), "mode"),
        ((b"max_age: 604800", b""), "max_age"),
        ((b"604800", b"-1"), "max_age"),
        ((b"604800", b"12345678901"), "max_age"),
        ((b"604800", "٣".encode()), "max_age"),
        ((b"mail.example.com", b"mail.*.com"), "host name"),
        ((b"mail.example.com", b"*"), "host name"),
        ((b"mail.example.com", b"*.*.com"), "host name"),
        ((b"mail.example.com", b"[192.0.2.1]"), "host name"),
        ((b"mail.example.com", b""), "host name"),
        ((b"mx: mail.example.com", b"mx: a.example\n" * 101), "more than"),
        ((b"mode", b"no colon\nmode"), "colon"),
        ((b"mode", b"\xff: x\nmode"), "utf-8"),
    ],
)
def test_other_policies(change: tuple[bytes, bytes], expected: STSPolicy | str) -> None:
    content = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmax_age: 604800\n".replace(*change)
    if isinstance(expected, STSPolicy):
        assert parse_policy(content) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            parse_policy(content)


@given(
    st.lists(
        st.sampled_from([b"version: STSv1", b"mode: none", b"max_age: 1", b"mx: *.a", b"\n", b"\r", b"\xff"])
    )
)
def test_any_octets(pieces: list[bytes]) -> None:
    try:
        policy = parse_policy(b"".join(pieces))
    except ValueError:
        return
    assert 0 <= policy.max_age <= LONGEST_AGE


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("mail.example.com", True),
        ("backupmx.example.com", True),
        ("mx1.example.net", True),  # section 4.1: one label, and not less
        ("foo.bar.example.net", False),
        ("example.net", False),
        ("mail.example.net.evil.example", False),
        ("other.example.com", False),
        ("example.com", False),
    ],
)
def test_hosts(host: str, expected: bool) -> None:
    assert parse_policy(EXAMPLE).matches(host) is expected
