"""The import rule of the rooms: who may import whom, read out of the source.

The table is the design: a room that needs another changes it here, in the same commit, with the
reason beside it.
"""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mailserver"

ANY = "everything"

# What a room without a transport may have of Twisted.
DEFERRED = {"twisted.internet.defer", "twisted.python.failure", "zope"}

# Rooms and modules of ours, and packages of others, beside the standard library.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "threads": {"errors", "twisted"},
    "mail": {"errors", "attrs", "idna"},
    "wire": {"errors", "mail", "attrs"},
    "sasl": {"attrs"},
    "session": {"wire", "sasl", "attrs"},
    # mail: names and addresses as fields
    "events": {"mail", "attrs", "twisted.logger", "twisted.python.failure"},
    # config: the keys of their sections, which are values
    "smtp": {"config", "mail", "wire", "sasl", "session", "errors", "attrs"},
    "pop3": {"config", "mail", "wire", "sasl", "session", "errors", "attrs"},
    # smtp, pop3: it stands in front of their sessions
    "faults": {"mail", "wire", "sasl", "session", "smtp", "pop3", "errors", "attrs"},
    # sasl: what a mechanism asks is a part of the contract of who answers it
    "interfaces": {"mail", "sasl", "errors", "attrs", "zope", "twisted.internet"},
    # config: the section [dns], which is a value; threads: equal questions are asked once
    "dns": {"config", "interfaces", "mail", "threads", "errors", "attrs", "twisted", "zope", "dns"},
    "durable": {"errors", "attrs"},  # attrs: its jobs are values, too
    "cluster": {"events", "interfaces", "mail", "errors", "durable", "attrs", "twisted", "zope"},
    # no transport: only Deferreds
    "reception": {"events", "interfaces", "mail", "errors", "attrs", *DEFERRED},
    "policy": {
        "events",
        "reception",
        "interfaces",
        "mail",
        "errors",
        "attrs",  # questions to DNS and results are values
        "cryptography",  # signatures of DKIM
        "dns",  # the contract of the resolver, and its answers
        "twisted.internet.interfaces",  # the clock of a deadline
        *DEFERRED,
    },
    "net": {
        "events",
        "threads",
        "reception",  # sessions bring mail there
        "config",  # the section [limits], which is a value
        "smtp",
        "pop3",
        "sasl",
        "session",
        "wire",  # the PROXY header comes before any session
        "interfaces",
        "mail",
        "errors",
        "attrs",
        "twisted",
        "zope",
        # certificates are read, judged and made here
        "service_identity",
        "OpenSSL",
        "cryptography",
    },
    "postgresql": {"events", "errors", "psycopg"},
    # cryptography: public keys that tokens are checked with
    # config: the nearest known name in an error; net: the limits of connections; mail: ids
    "http": {"config", "errors", "events", "interfaces", "mail", "net", "attrs", "twisted", "OpenSSL"},
    # net, sasl: the limits and the credentials of logins; config: the section [web], which is a value
    # delivery: the policy of MTA-STS as a value
    # reception, wire: messages that clients send; control, queue: what commands are asked and answer
    "web": {"http", "net", "sasl", "config", "interfaces", "mail", "events", "threads", "errors"}
    | {"reception", "wire", "control", "queue", "delivery", "__version__", "attrs"}
    | {"twisted", "zope"},
    "accounts": {"events", "threads", "interfaces", "mail", "sasl", "errors", "durable", "attrs", "argon2"}
    | {"postgresql", "passlib", "jwt", "cryptography", "twisted", "zope"},
    "routing": {"interfaces", "mail", "errors", "durable", "attrs", "twisted", "zope"},
    # postgresql: an engine in a database
    "store": {"events", "threads", "interfaces", "mail", "errors", "durable", "attrs", "twisted", "zope"}
    | {"postgresql"},
    "migration": {"store", "durable", "mail", "errors", "attrs"},  # store: Maildirs are read and written
    "delivery": {
        "events",
        "threads",
        "config",  # the sections [relay] and [[throttle]], which are values
        "dns",
        "smtp",  # the values of the sending session; a connection of net runs it
        "sasl",  # what the session logs in with
        "interfaces",
        "mail",
        "errors",
        "attrs",
        "twisted",
        "zope",
        "durable",  # fetched TLS policies are kept
        # certificates are checked against TLSA records
        "OpenSSL",
        "cryptography",
        "service_identity",
    },
    # cluster: the spools of other workers; postgresql: an engine in a database
    "queue": {"cluster", "events", "threads", "interfaces", "mail", "errors", "durable", "attrs", "twisted"}
    | {"zope", "postgresql"},
    "backup": {"durable", "mail", "store", "errors", "attrs"},  # store: the names of messages
    "config": {"mail", "errors", "attrs"},
    # the form of the lines, whatever the room
    # events, mail, durable, threads: the journal of messages keeps events in files
    # config: the section [log], which is a value
    "logs": {"cluster", "config", "events", "mail", "durable", "threads"}
    | {"errors", "interfaces", "attrs", "twisted", "zope"},
    "control": {"events", "errors", "interfaces", "net", "attrs", "twisted", "zope"},  # net: its port
    "commands": {
        "accounts",
        "config",  # which names the configuration has
        "control",  # the form of requests and outcomes
        "errors",
        "events",
        "interfaces",
        "logs",  # trace reads the journal of messages
        "mail",
        "queue",
        "reception",  # sendmail brings mail there
        "threads",
        "attrs",
        "twisted",
        # the records of a domain: what others check by them, and what they would find
        "policy",
        "delivery",
        "dns",
        "cryptography",  # the key in a TLSA record
        "zope",  # explain stands in for checks, router and resolver
    },
    # app asks the other rooms, and metrics get values; http: their pages
    "metrics": {"errors", "events", "http", "interfaces", "threads", "__version__", "attrs", "twisted"}
    | {"zope", "prometheus_client"},
    "app": {ANY},
    "testing": {ANY},  # the fixture is a whole server
    # app: without a server a command opens the data itself; accounts: hashing a password needs no server;
    # wire, durable: sendmail reads a message; policy: makes the keys of DKIM; testing: fixture runs a server;
    # commands: the records of a domain; migration, store: mailboxes are moved beside a running server
    "cli": {
        "backup",  # the data is copied in a process of its own
        "migration",
        "store",
        "commands",
        "policy",
        "app",
        "accounts",
        "config",
        "control",
        "durable",
        "errors",
        "mail",
        "testing",
        "wire",
        "__version__",
        "attrs",
        "click",
    },
    # accounts: the checkers of others that --auth takes
    "tap": {"app", "accounts", "config", "errors", "interfaces", "logs", "twisted"},
    "__main__": {"cli"},
}
# Rooms that only these may enter.
ONLY_FOR = {
    "app": {"cli", "tap", "testing"},
    "testing": {"cli"},
    "cli": {"__main__"},
    "tap": set(),
    "__main__": set(),
}


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in ROOT.rglob("*.py")} | {"mailserver.__version__"}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> list[str]:
    """The dotted names of all modules that a file imports, wherever in it."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where things come from"
            module = node.module or ""
            # "from mailserver.app import build" names a module, too
            modules = [f"{module}.{alias.name}" for alias in node.names]
            found += [name if name in MODULES else module for name in modules]
    return found


TESTS = ROOT.parent / "tests"
TEST_FILES = sorted(TESTS.rglob("*.py"))
BENCH_FILES = sorted((TESTS.parent / "bench").rglob("*.py"))


def is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def test_a_room_imports_only_what_it_may() -> None:
    for path in FILES:
        room = room_of(path)
        allowed = ALLOWED[room]
        for name in imports(path):
            if is_standard(name):
                continue
            if name.startswith("mailserver."):
                target = name.split(".")[1]
                assert target == room or target in allowed or ANY in allowed, f"{path} imports {name}"
                assert room in ONLY_FOR.get(target, {room}) | {target}, f"{path} imports {name}"
            else:
                assert ANY in allowed or any(
                    name == package or name.startswith(f"{package}.") for package in allowed
                ), f"{path} imports {name}"


# Modules without I/O in rooms that have some: their questions and answers are values.
SANS_IO = re.compile(
    r"mailserver\.policy\."
    r"(questions|dkim|dmarc(?!\.lookups)|arc|authentication_results|reputation\.(dnsbl|values)"
    r"|spf\.(evaluator|macros|record|values)|milter\.(packets|options|commands|replies|fields))\b"
)


def test_what_is_without_io_imports_none() -> None:
    for path in FILES:
        for name in imports(path):
            package = name.partition(".")[0]
            # The room "dns" and dnspython have one name in the table.
            assert package != "dns" or room_of(path) == "dns", f"{path} imports {name}"
            if SANS_IO.match(module_of(path)):
                assert package != "twisted" and not name.startswith("mailserver.dns"), (
                    f"{path} imports {name}"
                )


@pytest.mark.parametrize("depth", [2, None], ids=["between packages", "between files"])
def test_there_is_no_cycle(depth: int | None) -> None:
    needs: dict[str, set[str]] = {}
    for path in FILES:
        names = [module_of(path), *(name for name in imports(path) if name in MODULES)]
        module, *needed = (".".join(name.split(".")[:depth]) for name in names)
        needs.setdefault(module, set()).update(set(needed) - {module})
    assert list(TopologicalSorter(needs).static_order())  # raises CycleError, with the cycle


def test_the_reactor_is_always_a_parameter() -> None:
    for path in FILES:
        for node in parsed(path).body:
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
                assert not (node.module == "twisted.internet" and "reactor" in names), path


def test_each_class_and_type_has_a_name_of_its_own() -> None:
    found: dict[str, list[str]] = {}
    for path in FILES:
        for node in parsed(path).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):  # another name for a type
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                if re.fullmatch("[A-Z]+[a-z][A-Za-z0-9]*", name):
                    found.setdefault(name, []).append(module_of(path))
    assert not {name: modules for name, modules in found.items() if len(modules) > 1}


def test_files_stay_readable() -> None:
    for path in [*FILES, *TEST_FILES, *BENCH_FILES]:
        assert len(path.read_text().splitlines()) <= 400, path
    for path in FILES:
        assert ast.get_docstring(parsed(path)), f"{path} does not say what it is for"


# What belongs to a process as a whole. A service leaves it alone, so that any program can embed it.
PROCESS = {f"mailserver.app.{name}" for name in ("early", "memory", "process", "startup", "systemd")}
PROCESS |= {f"mailserver.app.workers.{name}" for name in ("__main__", "program")}
CHANGES_THE_PROCESS = {
    "os": {"umask", "chdir", "fork", "_exit", "setuid", "setgid", "setgroups", "register_at_fork", "putenv"},
    "signal": {"signal", "setitimer", "alarm", "set_wakeup_fd"},
    "resource": {"setrlimit"},
    "gc": {"freeze", "disable", "set_threshold"},
    "sys": {"exit", "setswitchinterval", "setrecursionlimit"},
    "atexit": {"register"},
}
MAY_CHANGE_THE_PROCESS = PROCESS | {
    "mailserver.cli.main",
    "mailserver.cli.requests",  # a command of root goes on as the owner of the data
    "mailserver.logs.lines",  # tap alone calls it
    "mailserver.logs.queue",  # as above
    "mailserver.logs.log_socket",  # as above
    "mailserver.threads.switching",  # while a thread computes, and counted
}


def test_only_the_modules_of_the_process_change_it() -> None:
    for path in FILES:
        module = module_of(path)
        if module not in PROCESS and module != "mailserver.tap":
            assert PROCESS.isdisjoint(imports(path)), path
        if module not in MAY_CHANGE_THE_PROCESS:
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    assert node.attr not in CHANGES_THE_PROCESS.get(node.value.id, ()), (
                        f"{path}:{node.lineno}"
                    )


def test_only_events_are_logged() -> None:
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "twisted.logger":
                assert not {"Logger", "globalLogPublisher"} & {alias.name for alias in node.names} or (
                    room_of(path) == "events"
                ), path


SQL = re.compile(r"(SELECT|INSERT|UPDATE|DELETE\s|CREATE|DROP|ALTER|PRAGMA|BEGIN|VACUUM)\b")
# An engine has its tables for itself; durable knows transactions, and no table.
MAY_HAVE_SQL = re.compile(
    r"mailserver\.(durable|postgresql|(accounts|queue|store)\.(sql|sqlite|postgresql))\b"
)


def test_sql_is_in_the_engines_alone() -> None:
    for path in FILES:
        if not MAY_HAVE_SQL.match(module_of(path)):
            assert "sqlite3" not in imports(path), path
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not SQL.match(node.value), f"{path}:{node.lineno}"
                elif isinstance(node, ast.Attribute):
                    assert node.attr not in ("execute", "executemany"), f"{path}:{node.lineno}"


STARTS_THREADS = {"deferToThread", "deferToThreadPool", "callInThread", "callInThreadWithCallback"}


def test_work_gets_into_a_thread_in_one_way() -> None:
    for path in FILES:
        for node in ast.walk(parsed(path)):
            names = {
                *([node.attr] if isinstance(node, ast.Attribute) else ()),
                *([each.name for each in node.names] if isinstance(node, ast.ImportFrom) else ()),
            }
            assert STARTS_THREADS.isdisjoint(names) or room_of(path) == "threads", path


CHANGES_THE_DISK = {
    "unlink", "rename", "replace", "link", "symlink", "mkdir", "makedirs", "rmdir", "remove", "fsync",
    "fdatasync", "truncate", "ftruncate", "write_bytes", "write_text", "touch", "rmtree",
}  # fmt: skip


def test_only_durable_changes_the_disk() -> None:
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id in ("os", "shutil", "pathlib"):
                    harmless = room_of(path) == "durable" or node.func.attr not in CHANGES_THE_DISK
                    assert harmless, f"{path}:{node.lineno}"
