"""What clients say to log in, right and nearly right, by every mechanism.

Written from the RFCs, not from the code. As the nonces of the servers are known, a client here can compute
its proof before it has read the challenge.
"""

import base64
import hashlib
import hmac
from random import Random

from tests.fuzz.known import BINDING, CLIENT_FIRST, HOST, NONCE, PASSWORDS
from tests.support.sasl.fake_accounts import ITERATIONS

Messages = tuple[bytes, ...]

CLIENT_NONCE = b"fyko+d2lbbFgONRv9qkxdawL"
BOUND = b"p=tls-exporter,,"


def scram_secrets(
    hash_name: str, password: str, salt: bytes, iterations: int, signed: bytes
) -> tuple[bytes, bytes]:
    """ClientProof and ServerSignature (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
    key = hmac.digest(salted, b"Client Key", hash_name)
    signature = hmac.digest(hashlib.new(hash_name, key).digest(), signed, hash_name)
    server_key = hmac.digest(salted, b"Server Key", hash_name)
    return bytes(a ^ b for a, b in zip(key, signature, strict=True)), hmac.digest(
        server_key, signed, hash_name
    )


def _scram(
    mechanism: str,
    name: str,
    password: str,
    header: bytes = b"n,,",
    binding: bytes = b"",
    final_nonce: bytes = CLIENT_NONCE + NONCE.encode(),
) -> Messages:
    salt = hashlib.sha256(name.encode()).digest()[:16]  # that of the fake accounts
    bare = b"n=%b,r=%b" % (name.replace("=", "=3D").replace(",", "=2C").encode(), CLIENT_NONCE)
    nonce = CLIENT_NONCE + NONCE.encode()
    server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), ITERATIONS)
    final = b"c=%b,r=%b" % (base64.b64encode(header + binding), final_nonce)
    signed = b",".join((bare, server_first, final))
    hash_name = "sha256" if "256" in mechanism else "sha1"
    proof, _ = scram_secrets(hash_name, password, salt, ITERATIONS, signed)
    return header + bare, final + b",p=" + base64.b64encode(proof), b""


def _messages(name: str, password: str) -> list[tuple[str, Messages]]:
    """Every mechanism by which somebody with this password can log in."""
    user, secret = name.encode(), password.encode()
    challenge = f"<{NONCE}@{HOST}>".encode()
    saslname = name.replace("=", "=3D").replace(",", "=2C").encode()
    rows = [
        ("PLAIN", (b"\0%b\0%b" % (user, secret),)),
        ("PLAIN", (b"%b\0%b\0%b" % (user, user, secret),)),
        ("LOGIN", (user, secret)),
        ("CRAM-MD5", (user + b" " + hmac.digest(secret, challenge, "md5").hex().encode(),)),
    ]
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        rows.append((mechanism, _scram(mechanism, name, password)))
        acting = b"n,a=" + saslname + b","
        rows.append((mechanism, _scram(mechanism, name, password, acting)))
        rows.append((f"{mechanism}-PLUS", _scram(mechanism, name, password, BOUND, BINDING)))
    return rows


RIGHT: list[tuple[str, Messages]] = [
    *(row for name, password in PASSWORDS.items() for row in _messages(name, password)),
    ("XOAUTH2", (b"user=mrose\1auth=Bearer token-mrose\1\1",)),
    ("OAUTHBEARER", (b"n,a=mrose,\1host=mail.example.org\1port=587\1auth=Bearer token-mrose\1\1",)),
    ("OAUTHBEARER", (b"n,,\1auth=bearer token-bob\1\1",)),
    ("EXTERNAL", (b"",)),
    ("EXTERNAL", (b"mrose",)),
    ("ANONYMOUS", (b"somebody",)),
]
_WRONG: list[tuple[str, Messages]] = [
    *_messages("mrose", "wrong"),
    *_messages("nobody", "secret"),
    *(
        (mechanism, _scram(mechanism, "mrose", "secret", header, binding))
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
        for header, binding in (
            *((b"y,,", b""), (b"n,,", BINDING), (BOUND, b"what else"), (b"p=tls-unique,,", BINDING)),
            *((b"n,a=bob,", b""), (b"x,,", b""), (BOUND, BINDING)),
        )
    ),
    ("SCRAM-SHA-256", _scram("SCRAM-SHA-256", "mrose", "secret", final_nonce=CLIENT_NONCE)),
    ("SCRAM-SHA-256", (b"n,,m=1,n=mrose,r=abc", b"c=biws,r=abc,p=AAAA")),
    ("PLAIN", (b"bob\0mrose\0secret",)),
    ("PLAIN", (b"\0mrose\0",)),
    ("PLAIN", (b"\0\0secret",)),
    ("PLAIN", (b"mrose\0secret",)),
    ("PLAIN", ("\0m\u00adrose\0secret".encode(),)),
    ("PLAIN", ("\0\uff4drose\0secret".encode(),)),
    ("PLAIN", (b"\0\xff\0secret",)),
    ("LOGIN", (b"", b"secret")),
    ("LOGIN", (b"mrose", b"")),
    ("CRAM-MD5", (b"mrose " + b"0" * 32,)),
    ("CRAM-MD5", (b"mrose",)),
    ("XOAUTH2", (b"user=mrose\1auth=Bearer stolen\1\1", b"")),
    ("XOAUTH2", (b"user=\1auth=Basic token-mrose\1\1", b"\1")),
    ("XOAUTH2", (b"auth=Bearer token-mrose\1\1",)),
    ("OAUTHBEARER", (b"n,,\1auth=Bearer stolen\1\1", b"\1")),
    ("OAUTHBEARER", (b"n,,\1auth=\1\1", b"\1")),
    ("OAUTHBEARER", (b"n,,\1auth=Bearer token-bob\1auth=Bearer stolen\1\1", b"\1")),
    ("EXTERNAL", (b"bob",)),
    ("EXTERNAL", (b"MROSE",)),
    ("ANONYMOUS", (b"x" * 256,)),
    ("ANONYMOUS", (b"\xff",)),
    ("DIGEST-MD5", (b"",)),
    ("NTLM", (b"NTLMSSP\0",)),
    ("GSSAPI", (b"",)),
]
_TIMESTAMP = f"<{NONCE}@{HOST}>"
APOP = tuple(
    f"APOP {name} {hashlib.md5((_TIMESTAMP + secret).encode()).hexdigest()}\r\n".encode()
    for name, secret in (("mrose", "secret"), ("bob", PASSWORDS["bob"]), ("mrose", "wrong"))
)

_ODD_LINES = (
    *(b"*", b"=", b"", b"A", b"====", b"AAAA=", b"AA==AA==", b"/w==", b" AAAA", b"AA AA", b"AAA\0", b"**"),
    *(b"QUIT", b"NOOP", b"AUTH PLAIN", b"AHQA" * 100, b"eHh4" * 3071, b"eHh4" * 3072, b"A" * 12290),
)
_FIRST_STEPS = frozenset((name, messages[:count]) for name, messages in RIGHT for count in range(1, 4))


def is_right_so_far(mechanism: str, said: Messages) -> bool:
    """Whether this is how somebody begins who has all that is needed."""
    return (mechanism, said) in _FIRST_STEPS


def login(random: Random, verb: bytes = b"AUTH ") -> list[bytes]:
    """The lines of one login."""
    mechanism, messages = random.choice(RIGHT if random.random() < 0.6 else _WRONG)
    lines = [base64.b64encode(message) for message in messages]
    head = verb + mechanism.encode()
    if random.random() < (0.6 if mechanism in CLIENT_FIRST else 0.1):
        head += b" " + (lines.pop(0) or b"=")
    lines.insert(0, head)
    if random.random() < 0.3:
        random.choice(_SPOILERS)(lines, random)
    return [line + b"\r\n" for line in lines]


def _replace(lines: list[bytes], random: Random) -> None:
    lines[random.randrange(len(lines))] = random.choice(_ODD_LINES)


def _add(lines: list[bytes], random: Random) -> None:
    lines.insert(random.randint(1, len(lines)), random.choice(_ODD_LINES))


def _append(lines: list[bytes], random: Random) -> None:
    lines[0] += b" " + random.choice(_ODD_LINES)


def _shorten(lines: list[bytes], random: Random) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at][: random.randint(0, len(lines[at]))]


def _leave(lines: list[bytes], random: Random) -> None:
    del lines[random.randrange(len(lines)) :]


def _garble(lines: list[bytes], random: Random) -> None:
    at = random.randrange(len(lines))
    octets = bytearray(lines[at])
    if octets:
        octets[random.randrange(len(octets))] = random.choice(b"AQgwz0+/= *\t\xc3")
    lines[at] = bytes(octets).replace(b"\n", b"")


_SPOILERS = (_replace, _replace, _add, _append, _shorten, _leave, _garble)
