"""Delivery reports as mailparser of npm reads them, a parser that shares nothing with Python's."""

import base64
import json
from pathlib import Path

from tests.support.e2e.programs import SCRIPTS, need, need_node_modules, run
from tests.support.reports import BODY, HEADER, NOW, REPORTS, made


def test_every_kind(tmp_path: Path) -> None:
    names = dict(enumerate(REPORTS, 1))
    folder = tmp_path / "reports"
    folder.mkdir()
    for number, name in names.items():
        (folder / f"{number:03}").write_bytes(made(name))
    done = run(tmp_path, need("node"), SCRIPTS / "mailparser.js", folder, env=need_node_modules("mailparser"))
    read = {names[int(one["name"])]: one for one in map(json.loads, done.stdout.splitlines())}
    assert [*read] == [*REPORTS]
    for name, one in read.items():
        head, _, recipients, status_type, returned_type = REPORTS[name]
        assert one["type"]["value"] == "multipart/report", name
        assert one["type"]["params"]["report-type"] == "delivery-status", name
        assert one["from"] == [{"address": "MAILER-DAEMON@mail.example.org", "name": "Mail Delivery System"}]
        assert (one["to"], one["date"]) == ([str(head.to)], NOW)
        status = dict(one["attachments"])[status_type]
        fields = base64.b64decode(status).decode()
        assert fields.count("\nAction: ") == len(recipients), name
        assert [kind for kind, _ in one["attachments"]] == [status_type, returned_type], name
        for each in recipients:
            assert each.address in one["text"], name
    whole = dict(read["whole"]["attachments"])["message/rfc822"]
    assert base64.b64decode(whole) == HEADER + b"\r\n" + BODY
    header = dict(read["failed"]["attachments"])["text/rfc822-headers"]
    assert base64.b64decode(header) == HEADER
