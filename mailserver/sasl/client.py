"""What a client logs in with."""

import attrs


@attrs.frozen
class ClientCredentials:
    """The name of an account, with its password or with a bearer token (RFC 6750)."""

    name: str
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
