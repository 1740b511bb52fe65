"""The settings of a fixture, and the configuration that they make."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from mailserver.config.keys.top_level import CONFIG, Config
from mailserver.config.schema.kinds import Context
from mailserver.config.schema.problems import InvalidKeys, near
from mailserver.errors import ConfigurationError
from mailserver.testing.profile import load_profile
from mailserver.testing.router import ACCEPTANCES, Acceptance
from mailserver.testing.tls_faults import TLS_FAULTS

HOSTNAME = "mail.example.test"
HOST = "127.0.0.1"
DOMAIN = "example.test"
LEAST_SIZE = 65536  # octets; the least maximum size of a message that the configuration allows

LISTENERS: Mapping[str, tuple[str, str]] = {
    "smtp": ("smtp", "starttls"),
    "submission": ("submission", "starttls"),
    "smtps": ("submission", "implicit"),
    "pop3": ("pop3", "starttls"),
    "pop3s": ("pop3", "implicit"),
}
"""The listeners by their names: protocol and TLS."""

SECTIONS = ("smtp", "submission", "pop3", "limits", "queue", "auth")
_EVERYBODY = ["0.0.0.0/0", "::/0"]
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "smtp": {"plaintext_auth": True},
    "submission": {"senders": "any"},
    "pop3": {"plaintext_auth": True},
    # All clients are those of the test, wherever they are: outside of a container, for example.
    "limits": {"exempt": _EVERYBODY},
    "relay": {"networks": _EVERYBODY},
    "auth": {
        "mechanisms": [
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "CRAM-MD5",
            "PLAIN",
            "LOGIN",
            "XOAUTH2",
            "OAUTHBEARER",
            "APOP",
        ]
    },
}


@attrs.frozen(kw_only=True)
class Settings:
    """What a test may choose.

    ``accept``: mail for "any" address, for the "accounts" of the test only, or mail for others, too, to
    "relay" it. ``tls``: True, False for none, or a fault of ``tls_faults`` by its name. ``seed`` makes ids
    and dates the same in each run. ``profile`` is the name of a server whose look and limits this one takes.
    The servers listen on ``host``, an IP address, on free ports or on those of ``ports`` by the names of
    :data:`LISTENERS`. ``sections`` has keys of the configuration by section, such as
    ``{"smtp": {"max_message_size": 1000}}``; this size may be smaller than that of a real server.
    """

    accept: Acceptance = "any"
    seed: int | None = None
    tls: bool | str = True
    profile: str | None = None
    hostname: str = HOSTNAME
    domain: str = DOMAIN
    host: str = HOST
    ports: Mapping[str, int] = attrs.field(factory=dict)
    sections: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, **settings: Any) -> "Settings":
        """The settings of keyword arguments. Raises TypeError and ValueError, with what is allowed."""
        names = [field.name for field in attrs.fields(cls) if field.name != "sections"]
        sections = {name: settings.pop(name) for name in SECTIONS if name in settings}
        for name in settings:
            if name not in names:
                guess = near(name, [*names, *SECTIONS])
                hint = f"; did you mean {guess}?" if guess else f"; allowed: {', '.join([*names, *SECTIONS])}"
                raise TypeError(f"unknown setting {name}{hint}")
        made = cls(**settings, sections=sections)
        if made.accept not in ACCEPTANCES:
            raise ValueError(f"accept: {made.accept!r}; allowed: {', '.join(ACCEPTANCES)}")
        if isinstance(made.tls, str) and made.tls not in TLS_FAULTS:
            raise ValueError(f"tls: {made.tls!r}; allowed: True, False, {', '.join(TLS_FAULTS)}")
        if made.profile is not None:
            load_profile(made.profile)
        for name in made.ports:
            if name not in made.listeners:
                raise ValueError(f"ports: no listener {name!r}; allowed: {', '.join(made.listeners)}")
        return made

    @property
    def listeners(self) -> Mapping[str, tuple[str, str]]:
        """See :data:`LISTENERS`. Without TLS there is no port for it."""
        if self.tls:
            return LISTENERS
        return {name: (protocol, "none") for name, (protocol, tls) in LISTENERS.items() if tls != "implicit"}

    def config(self) -> Config:
        """The configuration of the server. Raises ConfigurationError."""
        sections = dict(self.sections)
        if self.profile is not None:
            for name, settings in load_profile(self.profile).settings.items():
                sections[name] = {**settings, **sections.get(name, {})}
        host = self.host.replace(":", "\\:")  # the colon separates the parts of an endpoint
        listeners = tuple(
            (protocol, tls, f"tcp:{self.ports.get(name, 0)}:interface={host}")
            for name, (protocol, tls) in self.listeners.items()
        )
        return _config(self.hostname, self.domain, listeners, _frozen(sections))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((name, _frozen(each)) for name, each in sorted(value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _without_size(tree: dict[str, Any]) -> int | None:
    """Take a maximum size that is too small for a real server out of the keys. Returns it."""
    size = tree["smtp"].get("max_message_size")
    if type(size) is int and 0 < size < LEAST_SIZE:
        del tree["smtp"]["max_message_size"]
        return size
    return None


def _thawed(value: Any) -> Any:
    return list(map(_thawed, value)) if isinstance(value, tuple) else value


@lru_cache(maxsize=100)
def _config(hostname: str, domain: str, listeners: Any, sections: Any) -> Config:
    tree: dict[str, Any] = {
        "hostname": hostname,
        "domains": [domain],
        "storage": {"engine": "memory"},
        "listen": [
            {"protocol": protocol, "tls": tls, "endpoint": endpoint} for protocol, tls, endpoint in listeners
        ],
        **{name: dict(keys) for name, keys in _DEFAULTS.items()},
    }
    has_tls = any(tls != "none" for _, tls, _ in listeners)
    if has_tls:
        tree["tls"] = {"generate": True}
    for name, keys in sections:
        tree.setdefault(name, {}).update({key: _thawed(value) for key, value in keys})
    size = _without_size(tree)
    try:
        config = CONFIG.read(tree, Context(folder=Path("/"), domains=(domain,), tls=has_tls))
    except InvalidKeys as invalid:
        raise ConfigurationError([f"{problem.key}: {problem.text}" for problem in invalid.problems]) from None
    return attrs.evolve(config, smtp=attrs.evolve(config.smtp, max_message_size=size)) if size else config
