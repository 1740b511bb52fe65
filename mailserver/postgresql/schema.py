"""The tables, and the migration from older versions.

    mailbox      ``path`` as in a Maildir store; ``last`` is the highest number of a message so far,
                 ``messages`` and ``octets`` are its usage
    message      one copy in a mailbox, in the order of ``number``; ``sent`` is its size as sent,
                 ``surrogate`` that of its surrogate, NULL if it needs none
    body         the octets after the head, once for all copies of a message, in parts
    entry        unused by mailboxes in the same database, whose copies need no entry
    queued       a message with recipients that wait; ``data`` is its content, or ``content`` the name of its
                 body; ``checksum`` is the CRC-32 of the content
    recipient    one recipient of a queued message, as in the spool in SQLite; ``owner`` is the fence of the
                 server that tries it, NULL if none does
    lease        locks among servers; see ``leases``. ``last`` is the number of the last commit
    account, scram, app_password, alias, list, setting    as in the account store in SQLite
    account_revision    the number of changes of accounts, aliases and lists
    mailserver_format    the version of the tables

Times are in seconds since the epoch, except in ``lease``. Texts are compared octet by octet.
"""

from mailserver.errors import StorageRefused
from mailserver.postgresql.errors import DatabaseConnection

_TEXT = 'text COLLATE "C"'

_FIRST = (
    f"CREATE TABLE mailbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path {_TEXT} NOT NULL UNIQUE,"
    " last bigint NOT NULL DEFAULT 0, messages bigint NOT NULL DEFAULT 0, octets bigint NOT NULL DEFAULT 0)",
    "CREATE TABLE message (mailbox bigint NOT NULL, number bigint NOT NULL, uid text NOT NULL,"
    f" head bytea NOT NULL, body {_TEXT} NOT NULL, octets bigint NOT NULL, sent bigint NOT NULL,"
    " surrogate bigint, came double precision NOT NULL, PRIMARY KEY (mailbox, number))",
    "CREATE INDEX message_body ON message (body)",
    f"CREATE TABLE body (id {_TEXT} NOT NULL, part integer NOT NULL, data bytea NOT NULL,"
    " PRIMARY KEY (id, part))",
    "ALTER TABLE body ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE TABLE entry (seq bigint PRIMARY KEY, id text NOT NULL, received double precision NOT NULL,"
    " reverse_path text NOT NULL, octets bigint NOT NULL, copies text NOT NULL, content bytea)",
    "CREATE TABLE queued (seq bigint PRIMARY KEY, id text NOT NULL, received double precision NOT NULL,"
    f" reverse_path text NOT NULL, octets bigint NOT NULL, content {_TEXT} NOT NULL,"
    " checksum bigint NOT NULL, ret text NOT NULL, envid text NOT NULL, data bytea, handling text NOT NULL)",
    "ALTER TABLE queued ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX queued_content ON queued (content) WHERE content <> ''",
    f"CREATE TABLE recipient (seq bigint NOT NULL, number integer NOT NULL, destination {_TEXT} NOT NULL,"
    " address text NOT NULL, recipient text NOT NULL, reverse_path text NOT NULL, head bytea NOT NULL,"
    " attempts integer NOT NULL, next double precision NOT NULL, history text NOT NULL,"
    " notify text NOT NULL, orcpt text NOT NULL, warned integer NOT NULL, priority integer NOT NULL,"
    " release double precision NOT NULL, PRIMARY KEY (seq, number))",
    "CREATE INDEX recipient_due ON recipient (destination, priority, next)",
    "CREATE INDEX recipient_ranked ON recipient (destination, priority, next) WHERE priority <> 0",
    # A start takes one; the numbers of rows are made of it.
    "CREATE SEQUENCE spool_start MINVALUE 0",
    f"CREATE TABLE lease (name {_TEXT} PRIMARY KEY, node text NOT NULL, fence bigint NOT NULL,"
    " until timestamptz NOT NULL, last bigint NOT NULL DEFAULT 0)",
)

_ACCOUNTS = (
    f"CREATE TABLE account (key {_TEXT} PRIMARY KEY, address text NOT NULL, password text, secret text,"
    " disabled boolean NOT NULL)",
    f"CREATE TABLE scram (account {_TEXT} NOT NULL, hash {_TEXT} NOT NULL, salt bytea NOT NULL,"
    " iterations integer NOT NULL, stored_key bytea NOT NULL, server_key bytea NOT NULL,"
    " PRIMARY KEY (account, hash))",
    f"CREATE TABLE app_password (account {_TEXT} NOT NULL, name {_TEXT} NOT NULL, digest bytea NOT NULL,"
    " made double precision NOT NULL, used double precision NOT NULL, PRIMARY KEY (account, name))",
    f"CREATE TABLE alias (key {_TEXT} PRIMARY KEY, address text NOT NULL, targets text NOT NULL)",
    f"CREATE TABLE list (key {_TEXT} PRIMARY KEY, address text NOT NULL, owner text, members text NOT NULL)",
    f"CREATE TABLE setting (name {_TEXT} PRIMARY KEY, value bytea NOT NULL)",
)

_SHARED = (
    "ALTER TABLE recipient ADD owner bigint",
    "CREATE TABLE account_revision (number bigint NOT NULL)",
    "INSERT INTO account_revision VALUES (0)",
)

# Each element converts the tables of one version to the next one; the first creates them.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _ACCOUNTS, _SHARED)

_LOCK = 0x6D61696C  # among servers that start at the same time


def migrate(connection: DatabaseConnection) -> None:
    """Create the tables, or convert them, in one transaction.

    Raises :class:`~mailserver.errors.StorageRefused` for tables of a newer version, and ``psycopg.Error``.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS mailserver_format (version integer NOT NULL)")
        found = connection.execute("SELECT version FROM mailserver_format").fetchall()
        version = found[0][0] if found else 0
        if version > len(MIGRATIONS):
            raise StorageRefused(
                f"the database has format {version}, of a newer version of mailserver; this version reads "
                f"formats up to {len(MIGRATIONS)}"
            )
        if version < len(MIGRATIONS):
            for statement in [each for step in MIGRATIONS[version:] for each in step]:
                connection.execute(statement)
            connection.execute("DELETE FROM mailserver_format")
            connection.execute("INSERT INTO mailserver_format VALUES (%s)", (len(MIGRATIONS),))
