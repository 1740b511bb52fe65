"""The sections [tls] and [[certificate]]."""

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
    """The certificate of this server, PEM files. Without ``generate`` neither path is None."""

    certificate: Path | None = key(
        PATH_OR_NONE,
        "The certificate, then the intermediate ones, PEM. A renewed one is used without a restart.",
        default="",
        example="fullchain.pem",
    )
    private_key: Path | None = key(
        PATH_OR_NONE,
        "The private key, PEM; not for everybody to read.",
        default="",
        example="privkey.pem",
    )
    client_ca: Path | None = key(
        PATH_OR_NONE,
        "The certificates of the authorities, PEM, that sign those of clients: a client may then show one, "
        'and log in by it where auth.mechanisms has EXTERNAL. "": none is asked for.',
        default="",
    )
    generate: bool = key(
        Boolean(),
        "Whether to make an authority and a certificate for the hostname at the start, below data, in the "
        "folder tls. For demos and tests: nobody else trusts them. Then certificate and private_key "
        "are left out.",
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
            text = "it is of no use with generate = true; allowed: only with generate = false"
            yield KeyProblem(context.below(name).key, text)
        elif not values["generate"] and not given:
            text = f"it is missing; allowed: {PATH.allowed}; or both left out with generate = true"
            yield KeyProblem(context.below(name).key, text)


@attrs.frozen(kw_only=True)
class CertificateSection:
    """A further certificate of this server, PEM files."""

    certificate: Path = key(
        PATH,
        "The certificate, then the intermediate ones, PEM. Its names say for whom it is.",
        example="other-fullchain.pem",
    )
    private_key: Path = key(
        PATH, "The private key, PEM; not for everybody to read.", example="other-privkey.pem"
    )
