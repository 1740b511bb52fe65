"""Real and hostile messages are signed here, and verified here and by dkimpy."""

import dkim
import pytest

from mailserver.policy.dkim.signer import why_not_signed
from tests.support.corpus import sources
from tests.support.corpus.generated import generated
from tests.support.dkim import dkimpy_verifies, parts, signed, verified
from tests.support.e2e.programs import missing

SOURCES = {
    "generated": (generated, "", 30),
    "cpython": (sources.cpython, sources.NO_CPYTHON, 30),
    "folder": (sources.folder, sources.NO_FOLDER, 100),
}
LARGE = 1024 * 1024  # octets; dkimpy takes long for more


@pytest.mark.parametrize("source", SOURCES)
def test_messages(source):
    read, reason, enough = SOURCES[source]
    messages = read()
    if not messages:
        missing(reason)
    checked = 0
    for name, octets in messages.items():
        message = sources.as_sent(octets)
        head, body = parts(message)
        if len(message) > LARGE or why_not_signed(head):
            continue
        ours = signed(message, "ed25519", "rsa", cuts=range(0, len(body), 1000))
        assert [one.result for one in verified(ours)][:2] == ["pass", "pass"], name
        try:
            assert dkimpy_verifies(ours, 0) and dkimpy_verifies(ours, 1), name
        except dkim.MessageFormatError:
            continue  # dkimpy does not take lines without a colon
        checked += 1
    assert checked >= enough
