"""Connections that break, and what nobody may see of them."""

import pytest

from mailserver.errors import ConfigurationError
from mailserver.postgresql.connections import Connections

PROCESS = "SELECT pg_backend_pid()"


def end(postgresql, pid):
    postgresql.execute(f"SELECT pg_terminate_backend({pid}, 10000)")


def test_work_goes_on_after_the_connection_broke(postgresql, ask):
    [(first,)] = ask(PROCESS)
    assert ask(PROCESS) == [(first,)], "the connection is used again"
    end(postgresql, first)
    assert ask(PROCESS) != [(first,)]


def test_an_error_of_the_work_keeps_the_connection(connections, ask):
    first = ask(PROCESS)
    with pytest.raises(OSError, match=r"PostgreSQL: relation .nothing. does not exist$"):
        ask("SELECT FROM nothing")
    assert ask(PROCESS) == first

    def left_open(connection):
        connection.execute("BEGIN")
        raise LookupError

    with pytest.raises(LookupError):
        connections.run(left_open)
    assert ask(PROCESS) != first, "a transaction must not stay open"


def test_attempts_to_connect_pause(tmp_path, events):
    """Longer and longer, up to two seconds. The log has one line about it, without the password."""
    now = [100.0]
    connections = Connections(f"postgresql://mail:hunter2@/mail?host={tmp_path}", lambda: now[0])
    errors = set()
    for _ in range(3):
        with pytest.raises(OSError, match=r"^.Errno 5. PostgreSQL: connection") as error:
            connections.connect()
        errors.add(str(error.value))
    assert [type(each).__name__ for each in events] == ["DatabaseLost"]
    assert len(errors) == 1
    assert "hunter2" not in f"{errors}{events}"
    now[0] += 0.11
    with pytest.raises(OSError):
        connections.connect()
    assert connections._next - now[0] == pytest.approx(0.2)
    for _ in range(9):
        now[0] += 10
        with pytest.raises(OSError):
            connections.connect()
    assert connections._next - now[0] == pytest.approx(2.0)


def test_it_is_there_again(postgresql, database_url, tmp_path, events):
    now = [100.0]
    wrong = database_url.replace(str(postgresql.folder), str(tmp_path))
    connections = Connections(wrong, lambda: now[0])
    with pytest.raises(OSError):
        connections.run(lambda each: each.execute(PROCESS))
    connections._parameters["host"] = str(postgresql.folder)
    with pytest.raises(OSError):
        connections.run(lambda each: each.execute(PROCESS))  # it is not tried again yet
    now[0] += 1
    connections.run(lambda each: each.execute(PROCESS))
    assert [type(each).__name__ for each in events] == ["DatabaseLost", "DatabaseBack"]
    connections.forget()


@pytest.mark.parametrize("url", ["postgresql://mail:hunter2@/x?hostess=y", "postgresql://mail:hunter2@[/"])
def test_a_url_that_cannot_be_read(url):
    with pytest.raises(ConfigurationError, match=r"storage\.url: the library") as error:
        Connections(url)
    assert "hunter2" not in str(error.value)
    assert error.value.__suppress_context__
