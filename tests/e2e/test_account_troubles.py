"""Accounts when something is in the way: a client that hangs up, a broken store, a name kept twice."""

import json
import socket
import sqlite3
import time

from mailserver.control.channel import socket_name
from tests.support.e2e.accounts import settings
from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.server import DOMAIN, PASSWORD, Makes, Server, wait_until


def logs_in(server: Server, name: str, password: str) -> bool:
    with Pop3(server.pop3) as session:
        return session.login(f"{name}@{DOMAIN}", password).startswith(b"+OK")


def test_who_hangs_up_gets_the_change_all_the_same(make_server: Makes) -> None:
    server = make_server(settings()).start()
    assert mailserver(server, "account", "add", "dora", given="first\n")[0] == 0
    request = {"command": "account passwd", "address": "dora", "password": "second"}
    with socket.socket(socket.AF_UNIX) as channel:
        with socket_name(server.data / "control.sock") as name:
            channel.connect(name)
        channel.sendall(json.dumps(request).encode() + b"\n")
        time.sleep(0.02)  # so that it has begun
    wait_until(lambda: logs_in(server, "dora", "second"), "the new password")
    assert not logs_in(server, "dora", "first")


def test_a_reload_does_not_need_the_store(make_server: Makes) -> None:
    """Only commands change it; so what is wrong with the file stops no reload, and nobody's login."""
    server = make_server(settings()).start()
    assert mailserver(server, "account", "add", "dora", given="secret\n")[0] == 0
    with sqlite3.connect(server.data / "accounts.db") as database:
        database.execute("UPDATE account SET password = '{WHAT}ever'")
    server.config.write_text(settings(accounts=["alice"], tables=""))
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    assert logs_in(server, "dora", "secret") and not logs_in(server, "bob", PASSWORD)
    status, _, told = mailserver(server, "account", "list")
    assert status == 1 and "accounts.db" in told[0] and "is damaged" in told[0]


def test_what_is_removed_is_overwritten(make_server: Makes) -> None:
    server = make_server(settings()).start()
    mailserver(server, "account", "add", "dora", given="secret\n")
    mailserver(server, "account", "remove", "dora")
    server.stop()
    assert b"$argon2id$" not in (server.data / "accounts.db").read_bytes()


def test_an_import_takes_what_it_can(make_server: Makes) -> None:
    server = make_server(settings())
    server.data.mkdir(mode=0o700, parents=True)
    file = server.directory / "passwd"
    file.write_bytes(b"\xef\xbb\xbfxeno:{PLAIN}one\nyve:{PLAIN}\nzoe:{PLAIN}three\n")
    status, told, _ = mailserver(server, "import", "passwd-file", str(file))
    assert status == 1 and told[-1] == "2 accounts imported, 1 line not imported"
    assert told[0].startswith("line 2: ")
    _, listed, _ = mailserver(server, "account", "list")
    assert {line.partition(":")[0] for line in listed} >= {f"xeno@{DOMAIN}", f"zoe@{DOMAIN}"}


def test_a_name_that_the_configuration_has_taken(make_server: Makes) -> None:
    server = make_server(settings(accounts=["alice"], tables="")).start()
    assert mailserver(server, "account", "add", "bob", given="kept\n")[0] == 0
    server.config.write_text(settings(accounts=["alice", "bob"], tables=""))
    assert mailserver(server, "reload")[0] == 0
    assert f"bob@{DOMAIN} is in the account store, too" in server.log
    _, listed, _ = mailserver(server, "account", "list")
    assert any(line.startswith(f"bob@{DOMAIN}: ") and "overridden" in line for line in listed)
    for words in (["account", "passwd", "bob"], ["account", "disable", "bob"]):
        status, _, told = mailserver(server, *words, given="other\n")
        assert (status, told) == (
            1,
            [f"mailserver: bob@{DOMAIN} is in the configuration (account); change it there"],
        )
    assert not logs_in(server, "bob", "kept")
    assert mailserver(server, "account", "remove", "bob")[0] == 0
    _, listed, _ = mailserver(server, "account", "list")
    assert f"bob@{DOMAIN}: in the configuration" in listed
