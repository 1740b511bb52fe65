"""A server with 5,000 accounts: how long others wait while its configuration or its accounts change."""

from collections.abc import Iterator

import pytest

from mailserver.control.client import ask
from tests.support.attacks.probe import STALL, longest_wait
from tests.support.e2e.server import Server, configuration

NAMES = [f"n{number}" for number in range(5000)]
MEMBERS = [f"{name}@example.org" for name in NAMES]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from Server(tmp_path_factory.mktemp("large"), configuration(accounts=NAMES, tables="")).serve()


@pytest.mark.slow
@pytest.mark.parametrize(
    "requests",
    [
        [{"command": "reload"}] * 3,
        [
            {"command": "account add", "address": "new@example.org"},
            {"command": "account remove", "address": "new@example.org"},
        ],
        [
            {"command": "list add", "address": "all@example.org", "members": MEMBERS},
            {"command": "reload"},
            {"command": "list remove", "address": "all@example.org"},
        ],
        [{"command": "alias add", "address": "some@example.org", "to": MEMBERS[:500]}] * 2,
    ],
    ids=lambda requests: requests[0]["command"],
)
def test_nobody_waits_for_a_change(large: Server, requests: list[dict[str, object]]) -> None:
    def change() -> None:
        for request in requests:
            outcome = ask(large.data, {**request, "replace": True})
            assert outcome is not None and outcome.status == 0, outcome

    assert longest_wait(large, change) < STALL
