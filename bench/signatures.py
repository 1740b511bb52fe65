"""Measures DKIM alone, without a server: ``python -m bench.signatures``.

The processor time to sign a message and to verify it, for messages of several sizes and both kinds of keys.

Exit status: 0 done; 1 a signature was not valid; 2 wrong usage.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from mailserver.policy.dkim.keys import KeyKind, key_record, make_key
from mailserver.policy.dkim.signer import MessageSigning, Signer
from mailserver.policy.dkim.verifier import Verifier
from mailserver.policy.questions import PolicyReply

DOMAIN = "example.org"
CHUNK = 65536
SIZES = {"4 KiB": 4096, "64 KiB": 65536, "1 MiB": 1024 * 1024, "10 MiB": 10 * 1024 * 1024}
ROWS: dict[str, tuple[KeyKind, ...]] = {
    "Ed25519": ("ed25519",),
    "RSA-2048": ("rsa",),
    "both": ("ed25519", "rsa"),
}
ENOUGH = 0.2  # seconds of each figure
HEAD = b"".join(
    [
        b"Received: from client.example.org ([192.0.2.1]) by mx.example.org with ESMTP id %d; now\r\n"
        % number
        for number in range(4)
    ]
    + [b"From: A <a@example.org>\r\nTo: b@example.com\r\nSubject: a message\r\nDate: now\r\n"]
    + [b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"]
)


def signed(signers: list[Signer], chunks: list[bytes], head: bytes = HEAD) -> bytes:
    signing = MessageSigning(head, signers, now=time.time())
    for chunk in chunks:
        signing.feed(chunk)
    return signing.finish()


def passes(head: bytes, chunks: list[bytes], records: dict[str, bytes]) -> bool:
    verifier = Verifier(head, now=time.time())
    for chunk in chunks:
        verifier.feed(chunk)
    evaluation = verifier.evaluate()
    replies = {question: PolicyReply((records[question.name],)) for question in next(evaluation)}
    try:
        evaluation.send(replies)
    except StopIteration as end:
        return all(one.result == "pass" for one in end.value)
    return False


def milliseconds(work: Callable[[], object], repetitions: int) -> float:
    """The median of the processor time of one call."""
    figures = []
    for _ in range(repetitions):
        calls, began = 0, time.process_time()
        while (spent := time.process_time() - began) < ENOUGH:
            work()
            calls += 1
        figures.append(1000 * spent / calls)
    return median(figures)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.signatures", description="Measure DKIM.")
    parser.add_argument("--repetitions", type=int, default=3, help="number of repetitions (default: 3)")
    chosen = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    kinds: tuple[KeyKind, ...] = ROWS["both"]
    signers = {kind: Signer(DOMAIN, kind, make_key(kind)) for kind in kinds}
    records = {f"{kind}._domainkey.{DOMAIN}": key_record(signers[kind].key).encode() for kind in kinds}
    print("| CPU ms a message | sign | verify |\n|---|---:|---:|")
    for size, octets in SIZES.items():
        body = b"The quick brown fox jumps over the lazy dog, and then it does so again.\r\n" * (octets // 73)
        chunks = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
        for title, row in ROWS.items():
            own = [signers[kind] for kind in row]
            head = signed(own, chunks) + HEAD
            if not passes(head, chunks, records):
                print(
                    f"python -m bench.signatures: {size}, {title}: a signature is not valid", file=sys.stderr
                )
                return 1
            sign = milliseconds(partial(signed, own, chunks), chosen.repetitions)
            verify = milliseconds(partial(passes, head, chunks, records), chosen.repetitions)
            print(f"| {size}, {title} | {sign:.2f} | {verify:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
