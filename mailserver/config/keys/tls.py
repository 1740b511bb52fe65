"""The sections [tls] and [[certificate]]: the certificates of this server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from mailserver.config.schema.kinds import Context
from mailserver.config.schema.mail_kinds import PATH, PATH_OR_NONE
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Boolean
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class TlsSection:
    """The main certificate. Without ``generate`` neither of its paths is None."""

    certificate: Path | None = key(
        PATH_OR_NONE,
        "PEM file with the certificate, followed by the intermediate certificates. A renewed file is loaded "
        "without a restart.",
        default="",
        note="required unless generate is true",
        example="fullchain.pem",
    )
    private_key: Path | None = key(
        PATH_OR_NONE,
        "PEM file with the private key. Other users must not be able to read it.",
        default="",
        note="required unless generate is true",
        example="privkey.pem",
    )
    client_ca: Path | None = key(
        PATH_OR_NONE,
        "PEM file with the authorities that sign certificates of clients. With it a client may present a "
        'certificate, and log in with it if auth.mechanisms contains "EXTERNAL".',
        default="",
        note="no client certificates",
        example="clients.pem",
    )
    generate: bool = key(
        Boolean(),
        "Creation of an authority and a certificate for the hostname at the start, in the folder tls of the "
        "data directory. It is for demos and tests: no other machine trusts them. It replaces certificate "
        "and private_key.",
        default=False,
    )


def check_tls(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    if "generate" not in values:
        return
    for name in ("certificate", "private_key"):
        if name not in values:
            continue
        given = values[name] is not None
        if values["generate"] and given:
            text = "the key has no use with generate = true; allowed: only with generate = false"
            yield KeyProblem(context.below(name).key, text)
        elif not values["generate"] and not given:
            text = f"the key is missing; allowed: {PATH.allowed}, or generate = true without it"
            yield KeyProblem(context.below(name).key, text)


@attrs.frozen(kw_only=True)
class CertificateSection:
    """A further certificate of this server."""

    certificate: Path = key(
        PATH,
        "PEM file with the certificate, followed by the intermediate certificates. It is for the names in "
        "the certificate.",
        example="other-fullchain.pem",
    )
    private_key: Path = key(
        PATH,
        "PEM file with the private key. Other users must not be able to read it.",
        example="other-privkey.pem",
    )
