"""The keys of SRS: made once, read again at a reload, refused if they are no secret."""

import os
import stat
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.app.data import srs_keys_file
from mailserver.app.forwarding import MAX_OCTETS, Forwarding, read_keys
from mailserver.config.keys.forward import ForwardSection
from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.errors import ConfigurationError, StorageError
from mailserver.mail.address import Address

NOW = 1_700_000_000.0
SENDER = Address("erin", "elsewhere.example")


class AtOnce:
    """Threads that are none."""

    def run_long(self, function, *arguments):
        return succeed(function(*arguments))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path, domains=("example.org", "example.net"))


def forwarding(config):
    made = Forwarding(config, Disk(), AtOnce())  # type: ignore[arg-type]
    made.open()
    return made


def reload(forwarding, config):
    Deferred.fromCoroutine(forwarding.prepare(config)).addCallback(lambda commit: commit())


def test_made_once(config):
    path = srs_keys_file(config.data)
    first = forwarding(config).srs()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first.keys) == 1 and len(first.keys[0]) >= 32
    assert (first.domain, first.local) == ("example.org", {"example.org", "example.net"})
    assert forwarding(config).srs() == first
    assert first.keys[0].decode() not in repr(first)


def test_rotation(config):
    path = srs_keys_file(config.data)
    one = forwarding(config)
    old = one.srs().rewritten(SENDER, NOW)
    path.write_bytes(b"# comment\n\n new key \r\n" + path.read_bytes())
    reload(one, config)
    assert one.srs().keys[0] == b"new key" and len(one.srs().keys) == 2
    assert one.srs().rewritten(SENDER, NOW) != old
    assert one.srs().original(old, NOW) == SENDER


def test_off_and_on(config):
    off = attrs.evolve(config, forward=ForwardSection(srs=False))
    one = forwarding(off)
    assert one.srs() is None and not srs_keys_file(config.data).exists()
    reload(one, config)
    path = one.srs().rewritten(SENDER, NOW)
    assert path.domain == "example.org"
    reload(one, off)
    assert one.srs().rewritten(SENDER, NOW) == SENDER
    assert one.srs().original(path, NOW) == SENDER


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        (b"", 0o600, "has no key"),
        (b"# key\n \n", 0o600, "has no key"),
        (b"k" * (MAX_OCTETS + 1), 0o600, "more than"),
        (b"secret", 0o604, "other users can read"),
    ],
    ids=["empty", "comments", "large", "public"],
)
def test_unusable(config, content, mode, problem):
    path = srs_keys_file(config.data)
    one = forwarding(config)
    path.write_bytes(content)
    path.chmod(mode)
    before = one.srs()
    with pytest.raises(StorageError, match=problem) as caught:
        forwarding(config)
    assert "secret" not in str(caught.value)
    failure = Deferred.fromCoroutine(one.prepare(config))
    failure.addErrback(lambda why: why.trap(ConfigurationError))
    assert one.srs() is before


def test_a_pipe_has_no_key(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StorageError, match="has no key"):
        read_keys(tmp_path / "pipe")
