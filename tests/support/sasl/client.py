"""The client's side of a few SASL mechanisms, written apart from the product's.

A login is a generator: its first yield is of nothing, then it is sent each challenge of the server and
yields the response, both without base64.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Generator
from functools import partial

Talk = Generator[bytes, bytes, None]

NONCE = b"fyko+d2lbbFgONRv9qkxdawL"


def plain(name: bytes, password: bytes) -> Talk:
    """RFC 4616."""
    yield b""
    yield b"\0" + name + b"\0" + password


def login(name: bytes, password: bytes) -> Talk:
    """draft-murchison-sasl-login."""
    yield b""
    yield name
    yield password


def cram_md5(name: bytes, password: bytes) -> Talk:
    """RFC 2195."""
    challenge = yield b""
    yield name + b" " + hmac.new(password, challenge, "md5").hexdigest().encode()


def scram(hash_name: str, name: bytes, password: bytes) -> Talk:
    """RFC 5802, RFC 7677; without channel binding."""
    yield b""
    bare = b"n=" + name + b",r=" + NONCE
    first = yield b"n,," + bare
    nonce, salt, iterations = (part[2:] for part in first.split(b","))
    salted = hashlib.pbkdf2_hmac(hash_name, password, base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    without_proof = b"c=biws,r=" + nonce
    signed = b",".join([bare, first, without_proof])
    signature = hmac.digest(hashlib.new(hash_name, client_key).digest(), signed, hash_name)
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    final = yield without_proof + b",p=" + base64.b64encode(proof)
    server_key = hmac.digest(salted, b"Server Key", hash_name)
    assert base64.b64decode(final[2:]) == hmac.digest(server_key, signed, hash_name)
    yield b""


CLIENTS: dict[str, Callable[[bytes, bytes], Talk]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "SCRAM-SHA-1": partial(scram, "sha1"),
    "SCRAM-SHA-256": partial(scram, "sha256"),
}


def log_in(ask: Callable[[bytes], bytes], mechanism: str, name: bytes, password: bytes) -> bytes:
    """A whole login; ``ask`` sends a line and returns the answer, both without CRLF. The last answer."""
    talk = CLIENTS[mechanism](name, password)
    next(talk)
    answer = ask(b"AUTH " + mechanism.encode())
    while answer.startswith((b"334 ", b"+ ")):
        response = talk.send(base64.b64decode(answer.partition(b" ")[2]))
        answer = ask(base64.b64encode(response))
    return answer


def one_line(name: bytes, password: bytes) -> bytes:
    """AUTH PLAIN with an initial response, as SMTP and POP3 both have it."""
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0" + password) + b"\r\n"
