"""nodemailer as the sender; the script is in ``clients``."""

import email
import email.policy
from pathlib import Path

from tests.support.corpus.messages import MESSAGES, UNENDED, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import SCRIPTS, need, need_node_modules, run


def test_pool_of_connections(tmp_path: Path, mailbox: Mailbox) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    raw = {**MESSAGES, "unended": UNENDED}
    for name, octets in raw.items():
        (folder / name).write_bytes(octets)
    script = SCRIPTS / "nodemailer.js"
    port = str(mailbox.server.smtp[1])
    arguments = (port, SENDER, mailbox.address, folder)
    done = run(tmp_path, need("node"), script, *arguments, env=need_node_modules("nodemailer"))
    answers = done.stdout.splitlines()
    assert len(answers) == len(raw) + 10
    assert all(answer.startswith(b"250 2.0.0 Ok: queued as ") for answer in answers)

    stored = [original(octets) for octets in mailbox.messages()]
    written = [octets for octets in stored if b"multipart/alternative" in octets]
    assert sorted(set(stored) - set(written)) == sorted(
        octets if octets.endswith(b"\r\n") else octets + b"\r\n" for octets in raw.values()
    )
    assert {check_multipart(octets) for octets in written} == {f"Grüße {number}" for number in range(10)}


def check_multipart(octets: bytes) -> str:
    """Both bodies and the attachment have come through; the subject."""
    got = email.message_from_bytes(octets, policy=email.policy.default)
    plain, html = got.get_body(("plain",)), got.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert unix(plain.get_payload(decode=True)) == ".\n..\nHello, Ωμέγα\n".encode()  # type: ignore[arg-type]
    assert html.get_payload(decode=True) == "<p>Hello, <b>Ωμέγα</b></p>".encode()
    [attached] = got.iter_attachments()
    number = int(got["Subject"].split()[1])
    assert attached.get_payload(decode=True) == bytes([number]) * 100_000
    return str(got["Subject"])
