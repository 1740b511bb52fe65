"""Says what an exchange has proven, by the RFCs alone: whom a server may let in after it.

It knows the passwords, reads what was said and heard, and computes for itself what the right proof was.
"""

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.fuzz.broken import check
from tests.fuzz.known import BINDING, CERTIFICATE_NAMES, CLIENT_FIRST, PASSWORDS, TOKENS
from tests.fuzz.logins import BOUND, is_right_so_far, scram_secrets

Passwords = Mapping[str, str]
Heard = Sequence[bytes]

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
MAX_LINE = 12288  # octets with CRLF (RFC 4954 section 4)
MOST_CHALLENGES = 3


def name_of(octets: bytes) -> str:
    """A name as it counts: without what nobody sees, and in its simplest form (RFC 4013 section 2)."""
    text = "".join(" " if stringprep.in_table_c12(char) else char for char in octets.decode())
    return unicodedata.normalize("NFKC", "".join(c for c in text if not stringprep.in_table_b1(c)))


def by_password(name: bytes, password: bytes, passwords: Passwords) -> str:
    """PASS, and others that send the password itself."""
    user = name_of(name)
    return user if user in passwords and passwords[user].encode() == password else ""


def by_apop(name: bytes, digest: bytes, timestamp: str, passwords: Passwords) -> str:
    """APOP (RFC 1939 section 7)."""
    user = name_of(name)
    wanted = hashlib.md5((timestamp + passwords.get(user, "")).encode()).hexdigest()
    return user if user in passwords and digest == wanted.encode() else ""


def _plain(heard: Heard, said: Heard, passwords: Passwords) -> str:
    authzid, name, password = said[0].split(b"\0")
    user = by_password(name, password, passwords)
    return user if not authzid or name_of(authzid) == user else ""


def _login(heard: Heard, said: Heard, passwords: Passwords) -> str:
    return by_password(said[0], said[1], passwords)


def _cram(heard: Heard, said: Heard, passwords: Passwords) -> str:
    name, _, digest = said[0].rpartition(b" ")
    user = name_of(name)
    wanted = hmac.new(passwords.get(user, "").encode(), heard[0], "md5").hexdigest().encode()
    return user if user in passwords and digest == wanted else ""


def _scram(mechanism: str) -> Callable[[Heard, Heard, Passwords], str]:
    hash_name = "sha256" if "256" in mechanism else "sha1"
    bound = mechanism.endswith("-PLUS")

    def proven(heard: Heard, said: Heard, passwords: Passwords) -> str:
        flag, authzid, bare = said[0].split(b",", 2)
        first = dict(part.split(b"=", 1) for part in bare.split(b","))
        server = dict(part.split(b"=", 1) for part in heard[1].split(b","))
        unproven, _, proof = said[1].rpartition(b",p=")
        final = dict(part.split(b"=", 1) for part in unproven.split(b","))
        user = name_of(first[b"n"].replace(b"=2C", b",").replace(b"=3D", b"="))
        if user not in passwords or name_of(authzid[2:].replace(b"=2C", b",").replace(b"=3D", b"=")) not in (
            "",
            user,
        ):
            return ""
        header = said[0].removesuffix(bare)
        salt, iterations = base64.b64decode(server[b"s"]), int(server[b"i"])
        signed = b",".join((bare, heard[1], unproven))
        wanted, signature = scram_secrets(hash_name, passwords[user], salt, iterations, signed)
        right = (
            flag == BOUND[:-2] if bound else flag in (b"n", b"y"),
            base64.b64decode(final[b"c"]) == header + (BINDING if bound else b""),
            final[b"r"] == server[b"r"] and server[b"r"].startswith(first[b"r"]),
            server[b"r"] != first[b"r"],
            base64.b64decode(proof) == wanted,
            heard[2] == b"v=" + base64.b64encode(signature),
            said[2] == b"",
        )
        return user if all(right) else ""

    return proven


def _bearer(heard: Heard, said: Heard, passwords: Passwords) -> str:
    """Both: key and value pairs between octets 1, of which one is ``auth``."""
    pairs = [pair.partition(b"=") for pair in said[0].split(b"\1")]
    [token] = [value for key, _, value in pairs if key == b"auth"]
    scheme, _, token = token.partition(b" ")
    user = TOKENS.get(token.strip(b" ").decode(), "")
    return user if scheme.lower() == b"bearer" and user in passwords else ""


def _external(heard: Heard, said: Heard, passwords: Passwords) -> str:
    asked = name_of(said[0]).casefold() or CERTIFICATE_NAMES[0]
    return asked if asked in CERTIFICATE_NAMES and asked in passwords else ""


def _anonymous(heard: Heard, said: Heard, passwords: Passwords) -> str:
    return "anonymous" if "anonymous" in passwords and len(said[0].decode()) <= 255 else ""


_PROOFS: dict[str, Callable[[Heard, Heard, Passwords], str]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram,
    "XOAUTH2": _bearer,
    "OAUTHBEARER": _bearer,
    "EXTERNAL": _external,
    "ANONYMOUS": _anonymous,
} | {
    name: _scram(name) for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS")
}
# How many messages each takes to the end.
_STEPS = {"LOGIN": 2} | {name: 3 for name in _PROOFS if name.startswith("SCRAM")}


@attrs.define
class Transcript:
    """One exchange as the client sees it: challenges and responses, both without their base64.

    A response that is no base64, or stands where none may, is None in ``said``.
    """

    mechanism: str
    heard: list[bytes] = attrs.field(factory=list)
    said: list[bytes | None] = attrs.field(factory=list)

    def begin(self, initial: bytes | None) -> None:
        """The initial response as it came with the command, None without one."""
        if initial is not None and self.mechanism in CLIENT_FIRST:
            self.heard.append(b"")
            self.say(b"" if initial == b"=" else initial)
        elif initial is not None:
            self.said.append(None)

    def say(self, line: bytes) -> None:
        """A line of the client."""
        octets = binascii.a2b_base64(line) if _BASE64.fullmatch(line) and len(line) <= MAX_LINE - 2 else None
        # There is one way to write them; bits that are set behind the last octet are an error.
        self.said.append(octets if octets is not None and base64.b64encode(octets) == line else None)

    def hear(self, line: bytes) -> None:
        """A challenge."""
        check(_BASE64.fullmatch(line) is not None, "challenges are base64", line)
        self.heard.append(binascii.a2b_base64(line))
        check(len(self.heard) <= MOST_CHALLENGES, "an exchange comes to its end", self.mechanism)
        check(None not in self.said, "a response that is malformed ends the exchange", self.said)

    def granted(self, passwords: Passwords) -> str:
        """The exchange has succeeded: who has logged in."""
        said = [message for message in self.said if message is not None]
        name = ""
        if len(said) == len(self.said) == _STEPS.get(self.mechanism, 1) and self.mechanism in _PROOFS:
            try:
                name = _PROOFS[self.mechanism](self.heard, said, passwords)
            except (ValueError, KeyError, IndexError):
                name = ""  # not of the form, so no proof
        check(bool(name), "nobody is let in without a proof", self.mechanism, self.heard, self.said)
        return name

    def refused(self, passwords: Passwords) -> None:
        """The exchange has failed, on a server where nothing is out of order."""
        right = passwords is PASSWORDS and is_right_so_far(self.mechanism, tuple(self.said))  # type: ignore[arg-type]
        check(not right, "who has the proof is let in", self.mechanism, self.said)
