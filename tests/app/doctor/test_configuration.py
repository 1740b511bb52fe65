"""Risky settings, each planted alone."""

import pytest

from tests.support.doctor.site import DoctorSite, findings

# the change, and the severity, the kind, the subject and a part of the text of the finding
CASES = [
    (
        '[relay]\nnetworks = ["0.0.0.0/0"]', "error",
        "open-relay-networks", "relay.networks", "0.0.0.0/0 may send",
    ),
    ('[relay]\nnetworks = ["::/0"]', "error", "open-relay-networks", "relay.networks", "::/0 may send"),
    ('[relay]\nnetworks = ["8.0.0.0/8"]', "error", "open-relay-networks", "relay.networks", "8.0.0.0/8"),
    ('[relay]\ntls = "none"', "notice", "relay-without-tls", "relay.tls", "in the clear"),
    (
        '[smtp]\nxclient_networks = ["0.0.0.0/0"]', "error",
        "trusts-everybody", "smtp.xclient_networks", "claim",
    ),
    ('[smtp]\nxforward_networks = ["::/0"]', "error", "trusts-everybody", "smtp.xforward_networks", "log"),
    ('[limits]\nexempt = ["0.0.0.0/0"]', "error", "trusts-everybody", "limits.exempt", "wrong passwords"),
    ('[policy]\nexempt = ["0.0.0.0/1"]', "error", "trusts-everybody", "policy.exempt", "no SPF"),
    (
        '[[listen]]\nprotocol = "smtp"\nendpoint = "tcp:25"\nproxies = ["0.0.0.0/0"]',
        "error", "trusts-everybody", "listen[1].proxies", "any client",
    ),
    (
        '[auth]\nmechanisms = ["ANONYMOUS"]', "error",
        "anonymous-login", "auth.mechanisms", "without a password",
    ),
    ('[smtp]\nverify = "always"', "warning", "names-disclosed", "smtp.verify", "VRFY"),
    ('[smtp]\nplaintext_auth = true', "error", "plaintext-passwords", "smtp.plaintext_auth", "tcp:25"),
    ('[pop3]\nplaintext_auth = true', "error", "plaintext-passwords", "pop3.plaintext_auth", "tcp:110"),
    (
        '[[listen]]\nprotocol = "pop3"\nendpoint = "tcp:110"\ntls = "none"',
        "warning", "login-impossible", "listen[1].tls", "nobody can log in at tcp:110",
    ),
    (
        '[limits]\nauth_block_after = 0\nauth_failures = 0',
        "warning", "guessing-unlimited", "limits.auth_block_after", "as many passwords",
    ),
    ('[limits]\nconnections = 0', "warning", "connections-unlimited", "limits.connections", "no limit"),
    (
        '[limits]\nconnections_per_address = 0',
        "warning", "connections-unlimited", "limits.connections_per_address", "no limit",
    ),
    (
        '[limits]\nrecipients_per_account = "0"',
        "warning", "sending-unlimited", "limits.recipients_per_account", "spam",
    ),
    (
        '[[listen]]\nprotocol = "metrics"\nendpoint = "tcp:9100:interface=192.0.2.1"',
        "notice", "metrics-exposed", "listen[1].endpoint", "without a password",
    ),
    ('[alerts]\nmail = false', "notice", "no-alerts", "alerts.mail", "no alert is sent"),
    ('[log]\ntrace_days = 0', "notice", "no-trace", "log.trace_days", "no events"),
    (
        '[storage]\nengine = "memory"', "warning", "storage-in-memory",
        "storage.engine", "lost when the server",
    ),
    ('[storage]\nreserve = 0', "warning", "no-reserve", "storage.reserve", "fill the disk"),
    ('[storage]\nquota = "1 MiB"', "warning", "quota-too-small", "storage.quota", "1048576 octets"),
    ('hostname = "localhost"', "warning", "hostname-unusable", "hostname", '"localhost"'),
    ('[tls]\ngenerate = true', "warning", "tls-generated", "tls.generate", "no other machine"),
    ('allow_root = true', "notice", "root-allowed", "allow_root", "as root"),
    (
        '[[account]]\naddress = "alice"\npassword = "{PLAIN}secret"',
        "notice", "plain-passwords-stored", "account.password", "1 account",
    ),
]  # fmt: skip
HARMLESS = [
    '[[listen]]\nprotocol = "metrics"\nendpoint = "tcp:9100"',
    '[relay]\nnetworks = ["10.0.0.0/8", "192.168.0.0/16", "fc00::/7", "8.8.0.0/16", "2001:db8::/32"]',
    '[smtp]\nplaintext_auth = "loopback"',
    '[[listen]]\nprotocol = "pop3"\nendpoint = "tcp:110:interface=127.0.0.1"\ntls = "none"\n'
    "[pop3]\nplaintext_auth = true",
    '[[listen]]\nprotocol = "pop3"\nendpoint = "unix:/run/pop3"\ntls = "none"\n[pop3]\nplaintext_auth = true',
    '[[listen]]\nprotocol = "pop3"\nendpoint = "tcp:995"\ntls = "implicit"\n[pop3]\nplaintext_auth = true',
    "[limits]\nauth_block_after = 0",
    '[limits]\nrecipients_per_account = "0"\nmessages_per_account = "10/1h"',
]


@pytest.mark.parametrize(("change", "severity", "kind", "subject", "text"), CASES)
def test_a_risky_setting(
    site: DoctorSite, change: str, severity: str, kind: str, subject: str, text: str
) -> None:
    if "generate" in change:
        site.text = site.text.replace('certificate = "fullchain.pem"\nprivate_key = "privkey.pem"', "")
    site.configure(change)
    [found] = findings(site.run("configuration"))
    assert (found.severity, found.kind, found.subject) == (severity, kind, subject)
    assert text in found.text and found.mend


@pytest.mark.parametrize("change", HARMLESS)
def test_a_setting_that_is_no_risk(site: DoctorSite, change: str) -> None:
    site.configure(change)
    assert findings(site.run("configuration")) == []


def test_a_server_without_a_certificate(site: DoctorSite) -> None:
    site.text = site.text.replace('[tls]\ncertificate = "fullchain.pem"\nprivate_key = "privkey.pem"\n', "")
    site.text = site.text.replace('tls = "implicit"', 'tls = "none"')
    site.write()
    found = {one.kind: one for one in findings(site.run("configuration"))}
    assert set(found) == {"no-tls", "login-impossible"}
    assert found["no-tls"].severity == "warning"


def test_secrets_that_others_can_read(site: DoctorSite) -> None:
    site.configure('[[account]]\naddress = "alice"\npassword = "hunter2"')
    site.path.chmod(0o644)
    found = {one.kind: one for one in findings(site.run("configuration"))}
    assert found["configuration-exposed"].severity == "warning"
    assert found["configuration-exposed"].mend == f"chmod o-rwx {site.path}"
    assert "hunter2" not in str(found)
