"""What the servers of the fuzzer and its clients both know."""

HOST = "mail.example.org"
NONCE = "3rfcNHYJY1ZVvWVs7j"  # of every challenge
BINDING = b"what TLS binds to"  # of the type tls-exporter
CERTIFICATE_NAMES = ("mrose",)
PASSWORDS = {
    "mrose": "secret",
    "bob": "p\N{LATIN SMALL LETTER A WITH ACUTE}ss, w=rd",
    "tim,=": "tanstaaf",
    "anonymous": "nobody's",
}
TOKENS = {f"token-{name}": name for name in ("mrose", "bob")}

CLIENT_FIRST = frozenset(
    {
        *("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"),
        *("EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN", "ANONYMOUS"),
    }
)
"""The mechanisms in which the client may begin, by their RFCs; LOGIN by what clients do."""
MECHANISMS = (*sorted(CLIENT_FIRST), "CRAM-MD5")


def usable(mechanisms: tuple[str, ...], secure: bool, plaintext: bool) -> frozenset[str]:
    """Those of the mechanisms that can be used on a connection of the fuzzer's servers."""
    if not (secure or plaintext):
        return frozenset()
    return frozenset(
        name
        for name in mechanisms
        if name in MECHANISMS and (secure or not (name.endswith("-PLUS") or name == "EXTERNAL"))
    )
