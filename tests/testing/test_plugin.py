"""The pytest plugin: each case is a folder with tests of its own, run by pytest in another process."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

HEAD = """
import smtplib
import pytest

def send(server, to="bob@example.test", subject="Reset"):
    with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
        smtp.sendmail("shop@example.test", [to], f"Subject: {subject}\\r\\n\\r\\nHello\\r\\n")
"""


def run(folder: Path, text: str, *options: str) -> str:
    """The output of pytest for a file with these tests."""
    (folder / "test_it.py").write_text(HEAD + dedent(text))
    return pytest_in(folder, "-q", *options)


def pytest_in(folder: Path, *options: str) -> str:
    """The output of pytest in a folder."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = strict\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


CASES = {
    "a server is forgotten after its test": (
        """
        import gc
        import weakref

        servers = []

        def test_one(mailserver, make_mailserver):
            servers.extend([weakref.ref(mailserver), weakref.ref(make_mailserver())])

        def test_two():
            gc.collect()
            assert [each() for each in servers] == [None, None]
        """,
        ["2 passed"],
    ),
    "nothing of another test is visible": (
        """
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(mailserver, number):
            assert not mailserver.messages and not mailserver.sessions and not mailserver.mailboxes
            send(mailserver)
            assert [each.subject for each in mailserver.messages] == ["Reset"]
        """,
        ["2 passed"],
    ),
    "a rule that never acts fails the test": (
        """
        def test_it(mailserver):
            mailserver.smtp.on("RCPT").reply(451, "4.2.1", "busy")
        """,
        [
            "1 error, 1 passed",
            "rules that never acted",
            '.py:10: smtp.on("RCPT").reply(451, "4.2.1", "busy") (acted 0 of 0 times)',
        ],
    ),
    "so does a rule without an act": (
        """
        def test_it(mailserver):
            mailserver.smtp.on("RCPT").times(1)
        """,
        ["1 error, 1 passed", '.py:10: smtp.on("RCPT").times(1) (a rule without an act)'],
    ),
    "and one of a server that the test has stopped": (
        """
        def test_it(mailserver):
            mailserver.smtp.on("NOOP").close()
            mailserver.stop()
        """,
        ["1 error, 1 passed", 'smtp.on("NOOP").close()'],
    ),
    "an optional rule may stay unused, and one that has acted is no failure": (
        """
        def test_it(mailserver):
            mailserver.smtp.on("RCPT").reply(451, "4.2.1", "busy").optional().after(10)
            mailserver.smtp.on("NOOP").reply(250, "2.0.0", "yes")
            with smtplib.SMTP(mailserver.smtp.host, mailserver.smtp.port) as smtp:
                assert smtp.noop() == (250, b"2.0.0 yes")
        """,
        ["1 passed"],
    ),
    "a rule that never acts does not hide why the test failed": (
        """
        def test_it(mailserver):
            mailserver.smtp.on("RCPT").reply(451, "4.2.1", "busy")
            assert 1 == 2
        """,
        ["1 failed", "assert 1 == 2"],
    ),
    "a failure shows what did arrive and the dialogues": (
        """
        def test_it(mailserver):
            send(mailserver)
            mailserver.wait_for(to="carol@example.test", timeout=0.01)
        """,
        [
            "1 failed",
            'no message with to="carol@example.test" within 0.01 s',
            'bob@example.test, subject "Reset"',
            "C: rcpt TO:<bob@example.test>",
        ],
    ),
    "so does one that has nothing to do with the server": (
        """
        def test_it(mailserver):
            send(mailserver)
            assert 1 == 2
        """,
        ["1 failed", "mail server 1", "C: rcpt TO:<bob@example.test>"],
    ),
    "one server for all tests, and several with settings": (
        """
        def test_one(mailserver_session, make_mailserver):
            send(mailserver_session, subject="for all")
            strict = make_mailserver(accept="accounts")
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                send(strict)
            small = make_mailserver(smtp={"max_message_size": 70_000})
            with pytest.raises(smtplib.SMTPSenderRefused):
                send(small, subject="x" * 80_000)

        def test_two(mailserver_session):
            assert [each.subject for each in mailserver_session.messages].count("for all") == 1
        """,
        ["2 passed"],
    ),
    "a wrong setting says what is allowed": (
        """
        def test_it(make_mailserver):
            with pytest.raises(TypeError, match="unknown setting acept; did you mean accept"):
                make_mailserver(acept="relay")
            with pytest.raises(ValueError, match="accept: 'all'; allowed: any, accounts, relay"):
                make_mailserver(accept="all")
            with pytest.raises(Exception, match="smtp.max_recipients"):
                make_mailserver(smtp={"max_recipients": "many"})
        """,
        ["1 passed"],
    ),
    "rules of the server of the session end with their test, those of its fixtures do not": (
        """
        @pytest.fixture(scope="module")
        def shared(mailserver_session):
            mailserver_session.smtp.on("NOOP").reply(250, "of a fixture")
            mailserver_session.smtp.on("TURN").close()
            return mailserver_session

        @pytest.fixture
        def own(shared):
            shared.smtp.on("HELP").reply(250, "of a test")
            return shared

        def said(server, verb):
            with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
                return smtp.docmd(verb)[1]

        def test_one(own):
            own.smtp.on("RSET").reply(250, "never")
            assert (said(own, "NOOP"), said(own, "HELP")) == (b"of a fixture", b"of a test")

        def test_two(mailserver_session):
            assert said(mailserver_session, "RSET") != b"never"
            assert said(mailserver_session, "NOOP") == b"of a fixture"
            assert said(mailserver_session, "HELP") != b"of a test"
        """,
        ["1 error, 2 passed", 'smtp.on("RSET").reply(250, "never") (acted 0 of 0 times)'],
    ),
    "a failure shows what it did with the server of the session": (
        """
        def test_one(mailserver_session):
            send(mailserver_session, "carol@example.test")

        def test_two(mailserver_session):
            send(mailserver_session)
            assert 1 == 2
        """,
        ["1 failed, 1 passed", "mail server of the session", "C: rcpt TO:<bob@example.test>", "messages: 1"],
    ),
}


def test_cases(tmp_path: Path) -> None:
    """All in one process of pytest, which takes a second to start."""
    for number, (text, _) in enumerate(CASES.values()):
        (tmp_path / f"test_{number}.py").write_text(HEAD + dedent(text))
    output = pytest_in(tmp_path, "-v", "--no-header")
    for number, (name, (_, expected)) in enumerate(CASES.items()):
        outcomes = re.findall(rf"^test_{number}\.py::\S+ (PASSED|FAILED|ERROR)", output, re.MULTILINE)
        counts = ", ".join(f"{count} {what.lower()}" for what, count in sorted(Counter(outcomes).items()))
        sections = re.split(r"^_{3,} (?:ERROR at teardown of )?test_\w+ _{3,}$", output, flags=re.MULTILINE)
        told = "".join(each for each in sections if f"test_{number}.py" in each)
        for each in expected:
            assert each in counts or each in told, (name, counts, told)


def test_twisted_is_not_imported_before_a_test_asks(tmp_path: Path) -> None:
    text = """
    import sys

    def test_one():
        assert "twisted" not in sys.modules

    def test_two(mailserver):
        assert "twisted" in sys.modules
        assert "twisted.internet.reactor" not in sys.modules
    """
    output = run(tmp_path, text, "-p", "no:twisted", "-p", "no:anyio", "-p", "no:asyncio")
    assert "2 passed" in output, output


@pytest.mark.slow
def test_several_workers(tmp_path: Path) -> None:
    text = """
    @pytest.mark.parametrize("number", range(40))
    def test_it(mailserver, number):
        send(mailserver, subject=f"number {number}")
        assert mailserver.wait_for(subject=f"number {number}").recipients == ("bob@example.test",)
        assert len(mailserver.messages) == 1
    """
    output = run(tmp_path, text, "-n", "4")
    assert "40 passed" in output, output


ASYNC_BODY = """
    async_mailserver.smtp.on("RCPT").reply(451, "4.2.1", "busy").times(1)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(async_mailserver)
    threading.Timer(0.05, send, [async_mailserver]).start()
    mail = await async_mailserver.wait_for(to="bob@example.test", subject="Reset")
    assert mail.session.transcript.count("RCPT") == 1
    await async_mailserver.assert_no_message(to="carol@example.test", within=0.01)
    with pytest.raises(AssertionError, match="no message with"):
        await async_mailserver.wait_for(to="carol@example.test", timeout=0.01)
    before = async_mailserver.clock.time()
    await async_mailserver.clock.advance("4h")
    assert async_mailserver.clock.time() >= before + 4 * 3600
    relay = make_async_mailserver(accept="relay")
    send(relay, to="far@elsewhere.test")
    (relayed,) = await relay.wait_for_count(1, to="far@elsewhere.test")
    assert relayed in relay.outbox
    assert (await relay.wait_for_session(protocol="smtp")).closed
"""

ASYNC = {
    "pytest-asyncio": "@pytest.mark.asyncio\nasync def test_it(async_mailserver, make_async_mailserver):",
    "anyio": "@pytest.mark.anyio\nasync def test_it(async_mailserver, make_async_mailserver, anyio_backend):",
    "pytest-twisted": (
        "import pytest_twisted\n@pytest_twisted.ensureDeferred\n"
        "async def test_it(async_mailserver, make_async_mailserver):"
    ),
}


@pytest.mark.parametrize(("name", "head"), ASYNC.items(), ids=ASYNC)
def test_asynchronous_tests(tmp_path: Path, name: str, head: str) -> None:
    others = {"pytest-asyncio": "asyncio", "anyio": "anyio", "pytest-twisted": "twisted"}
    options = [option for other in others if other != name for option in ("-p", f"no:{others[other]}")]
    output = run(tmp_path, f"import threading\n{head}{ASYNC_BODY}", *options)
    assert "passed" in output and "failed" not in output and "error" not in output, output


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["-n", "4"]], ids=["one process", "4 workers"])
def test_many_tests_leave_nothing_behind(tmp_path: Path, workers: list[str]) -> None:
    """No thread, no descriptor, no file and no process: looked at by the tests themselves, at their end."""
    text = """
    import os
    import threading
    from pathlib import Path

    @pytest.mark.parametrize("number", range(500))
    def test_it(mailserver, number):
        send(mailserver)
        assert mailserver.ca_file.exists() and len(mailserver.messages) == 1
    """
    (tmp_path / "conftest.py").write_text(
        dedent(
            """
            import os
            import threading
            import pytest

            @pytest.hookimpl(tryfirst=True)
            def pytest_configure(config):
                config.before = set(os.listdir("/proc/self/fd"))

            class Last:
                @pytest.hookimpl(trylast=True)
                def pytest_unconfigure(self, config):
                    threads = [each.name for each in threading.enumerate() if "mailserver" in each.name]
                    threads += [each.name for each in threading.enumerate() if "spool" in each.name]
                    links = [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
                             if os.path.lexists(f"/proc/self/fd/{each}")]
                    sockets = [each for each in links if "socket" in each or "eventpoll" in each]
                    with open(os.environ["LEFT"], "a") as left:
                        left.write(f"{threads} {len(sockets) - config.sockets}\\n")

            def pytest_sessionstart(session):
                links = [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
                         if os.path.lexists(f"/proc/self/fd/{each}")]
                session.config.sockets = len([e for e in links if "socket" in e or "eventpoll" in e])
                session.config.pluginmanager.register(Last())
            """
        )
    )
    left, temporary = tmp_path / "left", tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "test_it.py"]
    (tmp_path / "test_it.py").write_text(HEAD + dedent(text))
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/usr/bin:/bin", "LEFT": str(left), "TMPDIR": str(temporary)},
    )
    assert "500 passed" in done.stdout, done.stdout
    processes = 5 if workers else 1
    assert left.read_text().splitlines() == ["[] 0"] * processes
    assert not [each for each in temporary.iterdir() if not each.name.startswith("pytest-of-")]
