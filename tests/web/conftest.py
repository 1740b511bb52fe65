"""A server with a web listener for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.web import WebServer, web_server


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with web_server(tmp_path_factory.mktemp("web")) as web:
        yield web
