"""Files of other servers: what each line says, and why it is not taken."""

from pathlib import Path

import pytest

from mailserver.accounts.passwd_file import ImportedLine, RejectedLine, read
from mailserver.errors import AccountError
from mailserver.mail.address import Address
from mailserver.mail.schemes import SCHEMES
from tests.support.e2e.programs import need, run

CRYPT = "$6$saltsalt$pqxtaP8VN9msji06dnBCbUbaSGTOXyo9jZDqZxik1rPexoqRIW4UKuiD0ZHZchCSd7S4/HoRU8bcFbnz2ihUr."


def address_of(user: str) -> Address:
    if user == "nobody":
        raise AccountError("nobody is none of us")
    return Address.parse(user if "@" in user else f"{user}@example.org")


def lines(text: str, scheme: str = "") -> list[ImportedLine | RejectedLine]:
    return list(read(text, address_of, scheme))


@pytest.mark.parametrize(
    ("line", "address", "verifies"),
    [
        (f"alice@example.com:{CRYPT}", "alice@example.com", "wonderland"),
        (f"alice:{{SHA512-CRYPT}}{CRYPT}\r", "alice@example.org", "wonderland"),
        (f"alice:{{sha512-crypt}}{CRYPT}::::::", "alice@example.org", "wonderland"),
        (f"alice:{CRYPT}:5000:5000::/home/alice:/bin/false:", "alice@example.org", "wonderland"),
        (
            f"alice:{CRYPT}:5000:5000:A. L.:/home/a::userdb_mail=maildir:~/M userdb_quota_rule=*:storage=1G",
            "alice@example.org",
            "wonderland",
        ),
        ("a.b+c:{PLAIN}two words :::", "a.b+c@example.org", "two words "),
        ("ü:{plain}pässword", "ü@example.org", "pässword"),
        ("alice:{PLAIN.b64}d29uZGVybGFuZA==", "alice@example.org", "wonderland"),
        ("alice:{NONE}", "alice@example.org", None),
    ],
)  # fmt: skip
def test_a_line(line: str, address: str, verifies: str | None) -> None:
    [found] = lines(line)
    assert isinstance(found, ImportedLine), found
    assert (found.number, found.address) == (1, Address.parse(address))
    if verifies is None:
        assert found.password.scheme == "none"
    else:
        assert found.password.verify(verifies)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("secret", "no colon"),
        (":{PLAIN}secret", "local part is missing"),
        ("a b:{PLAIN}secret", "invalid character"),
        ("alice@:{PLAIN}secret", "the domain is missing"),
        ("nobody:{PLAIN}secret", "nobody is none of us"),
        ("alice:", "the password is missing"),
        ("alice::1000:1000", "the password is missing"),
        ("alice:secret", "the password has no scheme, such as {PLAIN}, and there is no default scheme"),
        ("alice:x:1000:1000", "has no scheme"),
        ("alice:$y$j9T$secret", "unsupported kind, such as yescrypt"),
        ("alice:{DES-CRYPT}secret", "unknown password scheme {DES-CRYPT}"),
        ("alice:{CRYPT}secret", "unknown kind of hash after {CRYPT}"),
        ("alice:{nonsense}secret", "unknown password scheme"),
        ("alice:{SHA512}" + "5ec3e7" * 20, "does not have the form of its scheme"),
        ("alice:{SHA256}secret", "does not have the form of its scheme"),
        ("alice:{SHA512-CRYPT}secret", "not have the form"),
        ("alice:$6$secret", "not have the form"),
        ("alice::1:1::/home:/bin/sh:nopassword", "nopassword is not supported"),
        ("alice:{PLAIN}secret:::::: allow_nets=10.0.0.0/8,2001:db8::/32", "allow_nets is not supported"),
        ("alice:{PLAIN}secret::::::a=b passdb_nologin=y", "nologin is not supported"),
        ("alice:{PLAIN}secret\udcff", "invalid UTF-8"),
    ],
)
def test_a_line_that_is_not_taken(line: str, reason: str) -> None:
    [before, problem, after] = lines(f"bob:{CRYPT}\n{line}\ncarol:{CRYPT}\n")
    assert isinstance(problem, RejectedLine)
    assert problem.number == 2
    assert reason in problem.reason
    assert "secret" not in problem.reason
    assert isinstance(before, ImportedLine)
    assert isinstance(after, ImportedLine)
    assert after.number == 3


def test_lines_that_say_nothing() -> None:
    text = f"# a comment: x\n\n  \r\nalice:{CRYPT}\n\n#bob:{CRYPT}"
    assert [each.number for each in lines(text)] == [4]
    assert lines("") == []


def test_a_name_that_is_there_twice() -> None:
    text = f"alice:{CRYPT}\nbob:{CRYPT}\nAlice@example.org:{{PLAIN}}x\nbob:nonsense\n"
    first, second, again, wrong = lines(text)
    assert isinstance(first, ImportedLine)
    assert isinstance(second, ImportedLine)
    assert again == RejectedLine(3, "Alice@example.org is already in line 1")
    assert isinstance(wrong, RejectedLine)


@pytest.mark.parametrize(
    ("scheme", "text", "password"),
    [
        ("plain", "wonderland", "wonderland"),
        ("PLAIN", "{PLAIN}$y$ is how it starts", "$y$ is how it starts"),
        ("PLAIN", "$ is how it starts", "$ is how it starts"),
        ("SHA", "tiY7sUhYKUwI5L3866kDY+ENcrQ=", "wonderland"),
        ("SHA.HEX", "b6263bb14858294c08e4bdfceba90363e10d72b4", "wonderland"),
        ("sha.hex", "b6263bb14858294c08e4bdfceba90363e10d72b4", "wonderland"),
        ("sha", "B6263BB14858294C08E4BDFCEBA90363E10D72B4", "wonderland"),
        ("sha1.b64", "tiY7sUhYKUwI5L3866kDY+ENcrQ=", "wonderland"),
        # what tells its scheme by itself goes by that
        ("PLAIN", CRYPT, "wonderland"),
        ("SHA", "{PLAIN}wonderland", "wonderland"),
    ],
)
def test_the_scheme_of_those_that_do_not_tell_it(scheme: str, text: str, password: str) -> None:
    [found] = lines(f"alice:{text}", scheme)
    assert isinstance(found, ImportedLine), found
    assert found.password.verify(password)


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"PLAIN", "CLEARTEXT", "CLEAR", "NONE"}))
def test_a_scheme_that_does_not_fit(scheme: str) -> None:
    [problem] = lines("alice:secret!", scheme)
    assert isinstance(problem, RejectedLine)
    assert "secret" not in problem.reason


def test_a_file_with_hashes_of_doveadm(tmp_path: Path) -> None:
    doveadm = need("doveadm")
    (tmp_path / "dovecot.conf").touch()
    schemes = ["SHA512-CRYPT", "BLF-CRYPT", "SSHA256", "PLAIN", "ARGON2ID"]
    text = ""
    for number, scheme in enumerate(schemes):
        words = ("-c", tmp_path / "dovecot.conf", "pw", "-s", scheme, "-p", "wonderland")
        hashed = run(tmp_path, doveadm, *words).stdout.decode().strip()
        text += f"user{number}@example.org:{hashed}:5000:5000::/var/mail/user{number}::\n"
    found = lines(text)
    assert len(found) == len(schemes)
    for each in found:
        assert isinstance(each, ImportedLine), each
        assert each.password.verify("wonderland")
        assert not each.password.verify("wonderlanD")
