"""The API with a client that makes up requests from its description (schemathesis)."""

import sys
from pathlib import Path

import pytest

from tests.support.e2e.programs import run
from tests.support.e2e.server import PASSWORD, Makes, configuration
from tests.support.web import LISTEN, basic

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
)
TABLES = '[web]\nadministrators = ["alice"]\n[dns]\nservers = ["127.0.0.1:9"]\n[storage]\nengine = "memory"\n'


@pytest.mark.slow
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_made_up_requests(make_server: Makes, tmp_path: Path, who: str) -> None:
    """alice is an administrator."""
    server = make_server(
        configuration(listen=LISTEN, top="allow_root = true\nworkers = 1", tables=TABLES)
    ).start()
    (port,) = (one["port"] for one in server.listeners if one["protocol"] == "web")
    done = run(
        tmp_path,
        str(Path(sys.executable).with_name("st")),
        *("run", f"http://127.0.0.1:{port}/api/v1/openapi.json"),
        *("-H", f"Authorization: {basic(who)}"),
        # They wait as long as they are told.
        *("--exclude-path", "/messages/wait"),
        *("--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-color"),
        *("--checks", ",".join(CHECKS)),
    )
    printed = done.stdout.decode()
    assert "Coverage" in printed and " passed" in printed, printed
    assert "critical" not in server.log and PASSWORD not in server.log
