"""Python's smtplib: STARTTLS and implicit TLS, its mechanisms, and what the server says on the way."""

import smtplib
from base64 import b64encode

from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.secured import Account, Secured


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_external(account: Account, secured: Secured) -> None:
    shown = account.certificate()
    context = account.context
    context.load_cert_chain(shown.certificate, shown.private_key)
    with smtplib.SMTP_SSL(*account.server.address("submission", "implicit"), context=context) as client:
        client.ehlo()
        assert "EXTERNAL" in client.esmtp_features["auth"].split()
        assert client.docmd("AUTH EXTERNAL", encoded(secured.account().address))[0] == 535
        assert client.docmd("AUTH EXTERNAL", "=")[0] == 235
        client.sendmail(account.address, [account.address], MESSAGES["plain"])
    assert len(account.messages()) == 1
    local, _ = account.address.split("@")
    for chosen in (local, local.upper(), account.address.upper()):
        with smtplib.SMTP_SSL(*account.server.address("submission", "implicit"), context=context) as client:
            client.ehlo()
            assert client.docmd("AUTH EXTERNAL", encoded(chosen))[0] == 235, chosen
