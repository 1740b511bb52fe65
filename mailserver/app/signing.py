"""The keys that sign outgoing mail, from the section [[dkim]]: read at the start and at each reload."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mailserver.config.keys.dkim import DkimSection
from mailserver.config.keys.top_level import Config
from mailserver.errors import ConfigurationError
from mailserver.policy.dkim.keys import SigningKey, read_pem
from mailserver.policy.dkim.signer import Signer
from mailserver.policy.signing import SigningKeys


class Signing:
    """The keys in force."""

    def __init__(self, path: Path, config: Config) -> None:
        """Read the keys, as the process may lose the privileges for it. ``path`` is the configuration file,
        for errors. Raises :class:`ConfigurationError`."""
        self._path = path
        self._keys = self._read(config)

    def keys(self) -> SigningKeys:
        """The keys in force."""
        return self._keys

    def sign_report(self, report: bytes) -> bytes:
        """A report of this server with its signatures, if the domain of its From has keys."""
        return self._keys.sign([report], time.time()) + report if self._keys else report

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        keys = self._read(config)

        def commit() -> None:
            self._keys = keys

        return commit

    def _read(self, config: Config) -> SigningKeys:
        signers: dict[str, list[Signer]] = {}
        problems: list[str] = []
        for number, section in enumerate(config.dkim, 1):
            try:
                signer = Signer(section.domain, section.selector, read_key(section))
                signers.setdefault(section.domain, []).append(signer)
            except ValueError as error:
                problems.append(f"{self._path}: dkim[{number}].key: {error}")
        if problems:
            raise ConfigurationError(problems)
        return SigningKeys(signers)


def read_key(section: DkimSection) -> SigningKey:
    """The key of a section. Raises ValueError that says what is wrong with its file, and what is allowed."""
    try:
        pem = section.key.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {section.key}: {error.strerror}") from None
    try:
        return read_pem(pem)
    except ValueError as error:
        allowed = "a private key in PEM without a password, RSA or Ed25519"
        raise ValueError(f"{section.key}: {error}; allowed: {allowed}") from None


def read_keys(config: Config) -> Iterator[tuple[DkimSection, SigningKey]]:
    """All keys of a configuration. Raises ValueError, as :func:`read_key`."""
    for section in config.dkim:
        yield section, read_key(section)
