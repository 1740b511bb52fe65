"""The protocol and the configuration of a listener decide what its clients may do."""

from pathlib import Path

import pytest

from mailserver.app.listeners import smtp_options
from mailserver.config.loader import load

CONFIG = """
domains = ["example.org"]
hostname = "mail.example.org"
[[listen]]
protocol = "%s"
endpoint = "tcp:0:interface=127.0.0.1"
tls = "none"
[[account]]
address = "alice@example.org"
password = "x"
[relay]
%s
"""
DOMAINS = 'domains = ["example.net"]'
ATRN = 'atrn = { "example.net" = ["alice"] }'


@pytest.mark.parametrize("protocol", ["smtp", "submission", "lmtp"])
@pytest.mark.parametrize("relay", ["", DOMAINS, f"{DOMAINS}\n{ATRN}"])
def test_commands_that_a_configuration_permits(tmp_path: Path, protocol: str, relay: str) -> None:
    """ETRN and ATRN, but for LMTP, whose client is another mail server."""
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG % (protocol, relay))
    config = load(path)
    options = smtp_options(config, "mail.example.org", config.listen[0], plaintext=False)
    assert options.queue_starts == ("domains" in relay and protocol != "lmtp")
    assert options.fetches == ("atrn" in relay and protocol != "lmtp")
    assert (options.lmtp, options.submission) == (protocol == "lmtp", protocol == "submission")
    assert options.needs_login == options.submission
    assert not (options.starttls or options.xclient or options.xforward)
