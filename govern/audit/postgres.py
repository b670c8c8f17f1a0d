"""PostgreSQL as the log wants it: one writer at a time, commits that are on the disk, and errors with a remedy.

The log lies in the schema `govern` of one database. How to connect is libpq's business, a password too: it belongs in
PGPASSFILE, PGPASSWORD or a service file, never in the URL. What a transaction needs is set in it, so that a connection
pooler between here and the server changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from govern.audit import storage
from govern.audit.inspection import Damage
from govern.audit.schema import APPLICATION_ID, SCHEMA_VERSION
from govern.errors import GovernError, IntegrityError, UsageError

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.pool import ConnectionPoolEntry

_CONNECT_SECONDS: Final = 10
_CURSORS: Final = itertools.count()
_COMMENT: Final = "govern audit log, schema version "

_TABLES: Final = (
    """CREATE TABLE govern.event (seq bigint PRIMARY KEY, prev bytea NOT NULL UNIQUE, leaf bytea NOT NULL,
    body bytea NOT NULL)""",
    """CREATE TABLE govern.node (size bigint NOT NULL, level integer NOT NULL, hash bytea NOT NULL,
    PRIMARY KEY (size, level))""",
)
_COLUMNS: Final = {
    "event.seq": "bigint",
    "event.prev": "bytea",
    "event.leaf": "bytea",
    "event.body": "bytea",
    "node.size": "bigint",
    "node.level": "integer",
    "node.hash": "bytea",
}
_UNIQUE: Final = ("event(seq)", "event(prev)", "node(size, level)")

# Against slips, not against malice: whoever owns a table can drop its triggers.
_FUNCTIONS: Final = {
    "refuse_change": """
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
END
""",
    "refuse_all_but_the_next": """
BEGIN
  IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), -1) + 1 FROM govern.event)
    OR NEW.seq > 0 AND NEW.prev IS DISTINCT FROM (SELECT leaf FROM govern.event ORDER BY seq DESC LIMIT 1)
  THEN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END
""",
}
# As PostgreSQL itself writes them where `govern` is searched, since fsck compares the two.
_TRIGGERS: Final = {
    f"{table}_{name}": f"CREATE TRIGGER {table}_{name} BEFORE {on} ON govern.{table} "
    f"FOR EACH {each} EXECUTE FUNCTION {function}()"
    for table, name, on, each, function in (
        ("event", "is_never_updated", "UPDATE", "STATEMENT", "refuse_change"),
        ("event", "is_never_deleted", "DELETE", "STATEMENT", "refuse_change"),
        ("event", "is_never_emptied", "TRUNCATE", "STATEMENT", "refuse_change"),
        ("event", "is_the_next", "INSERT", "ROW", "refuse_all_but_the_next"),
        ("node", "is_never_updated", "UPDATE", "STATEMENT", "refuse_change"),
        ("node", "is_never_deleted", "DELETE", "STATEMENT", "refuse_change"),
        ("node", "is_never_emptied", "TRUNCATE", "STATEMENT", "refuse_change"),
    )
}


@dataclass(frozen=True)
class Postgres:
    """A log in a PostgreSQL database, by libpq's URL. Raises UsageError for one that is malformed or holds a password.

    Raises GovernError where the extra `postgres` is not installed.
    """

    url: str

    def __post_init__(self) -> None:
        """Refuse what is no URL, or a secret one."""
        self._parameters()

    @property
    def where(self) -> str:
        """The URL."""
        return self.url

    def exists(self) -> bool:
        """Whether the database has a schema called `govern`."""
        engine = self.connect()
        try:
            with storage.reading(engine) as connection:
                return connection.exec_driver_sql("SELECT to_regnamespace('govern')").scalar() is not None
        finally:
            engine.dispose()

    def create(self, fill: Callable[[Connection], None]) -> None:
        """Make the schema, its tables and triggers and the first event in one transaction."""
        engine = self.connect()
        try:
            with engine.begin() as connection:
                # Whoever waited for the lock finds the other's log.
                if connection.exec_driver_sql("SELECT to_regnamespace('govern')").scalar() is not None:
                    return
                connection.exec_driver_sql("CREATE SCHEMA govern")
                connection.exec_driver_sql(f"COMMENT ON SCHEMA govern IS '{_COMMENT}{SCHEMA_VERSION}'")
                for table in _TABLES:
                    connection.exec_driver_sql(table)
                for name, body in _FUNCTIONS.items():
                    connection.exec_driver_sql(
                        f"CREATE FUNCTION govern.{name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"
                    )
                for name, statement in _TRIGGERS.items():
                    connection.exec_driver_sql(statement)
                    # Also while a replica is fed.
                    table = name.partition("_")[0]
                    connection.exec_driver_sql(f"ALTER TABLE govern.{table} ENABLE ALWAYS TRIGGER {name}")
                fill(connection)
        finally:
            engine.dispose()

    def connect(self) -> Engine:
        """An engine for the database."""
        driver = _psycopg()
        parameters = {"connect_timeout": _CONNECT_SECONDS, "application_name": "govern", **self._parameters()}

        def opened() -> psycopg.Connection[Any]:
            connection: psycopg.Connection[Any] = driver.connect(**parameters, prepare_threshold=None)
            return connection

        # The server may have been restarted since the last event.
        engine = create_engine("postgresql+psycopg://", creator=opened, pool_pre_ping=True)

        @event.listens_for(engine, "connect")
        def configure(connection: psycopg.Connection[Any], _entry: ConnectionPoolEntry) -> None:
            for setting in ("fsync", "full_page_writes"):
                found = connection.execute(f"SHOW {setting}").fetchone()
                if found != ("on",):
                    raise GovernError(
                        f"the PostgreSQL server runs with {setting} off: an event that it acknowledged could be lost",
                        where=self.where,
                        hint=f"Set {setting} = on in the server's postgresql.conf.",
                    )
            connection.rollback()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get("reading", False):
                connection.exec_driver_sql(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
                    "SET LOCAL search_path = govern, pg_temp"
                )
                return
            # The lock comes last, so that what is read next is newer than the event of whoever had it before.
            connection.exec_driver_sql(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL search_path = govern, pg_temp; "
                "SELECT set_config('synchronous_commit', 'on', true) "
                "WHERE current_setting('synchronous_commit') <> 'remote_apply'; "
                f"SET LOCAL lock_timeout = '{int(1000 * storage.BUSY_SECONDS)}ms'; "
                f"SELECT pg_advisory_xact_lock({APPLICATION_ID})"
            )

        return engine

    def connect_to_read(self) -> Engine:
        """The same: a transaction that reads may not write."""
        return self.connect()

    def rows(self, connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement answers."""
        cursor = _driver(connection).execute(statement.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []

    def stream(self, connection: Connection, statement: str, *values: object) -> Generator[tuple[Any, ...]]:
        """The same, a thousand rows at a time."""
        with _driver(connection).cursor(f"govern_{next(_CURSORS)}") as cursor:
            cursor.itersize = 1000
            yield from cursor.execute(statement.replace("?", "%s"), values)

    def version(self, connection: Connection) -> int | None:
        """What the comment on the schema says. Raises GovernError where the role may not use the schema."""
        found = connection.exec_driver_sql(
            "SELECT obj_description(oid, 'pg_namespace'), has_schema_privilege(oid, 'USAGE') "
            "FROM pg_namespace WHERE nspname = 'govern'"
        ).first()
        if found is None:
            return None
        comment, usable = found
        rest = str(comment).removeprefix(_COMMENT)
        if comment == rest or not rest.isdecimal():
            return None
        if not usable:
            # Its tables would seem to be missing.
            raise _no_rights(self.where, "permission denied for schema govern")
        return int(rest)

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """The same as `schema_damage`: the server looks after its files."""
        return self.schema_damage(connection)

    def schema_damage(self, connection: Connection) -> Iterator[Damage]:
        """Each table, column, index, function or trigger of the schema that is not what we make."""
        found = dict(_facts(connection))
        expected = {
            **{f"table {name}": "plain" for name in ("event", "node")},
            **{f"column {name}": f"{kind} NOT NULL" for name, kind in _COLUMNS.items()},
            **{f"index {name}": "unique" for name in _UNIQUE},
            **{f"function {name}": body for name, body in _FUNCTIONS.items()},
            **{f"trigger {name}": f"A {statement}" for name, statement in _TRIGGERS.items()},
        }
        yield from storage.differences(found, expected)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the server says into errors with a remedy."""
        try:
            yield
        except DBAPIError as error:
            raise _translated(self.where, error.orig) from None
        except _psycopg().Error as error:
            raise _translated(self.where, error) from None

    def _parameters(self) -> dict[str, Any]:
        driver = _psycopg()
        # The URL is not repeated in what follows: somebody put a password into it.
        if not self.url.startswith(("postgresql://", "postgres://")):
            raise UsageError("this is not the URL of a PostgreSQL database", hint="Write postgresql://HOST/DATABASE")
        try:
            parameters: dict[str, Any] = driver.conninfo.conninfo_to_dict(self.url)
        except driver.Error:
            raise UsageError("the log's URL is malformed", hint="Write postgresql://USER@HOST:PORT/DATABASE") from None
        if parameters.keys() & {"password", "sslpassword"}:
            raise UsageError(
                "the log's URL holds a password, and it is written into files and messages",
                hint="Leave it out, change it, and give it by PGPASSFILE (~/.pgpass) or PGPASSWORD.",
            )
        return parameters


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise GovernError(
            "a log in PostgreSQL needs psycopg", hint="Install the extra: pip install 'govern-unlearning[postgres]'"
        ) from None
    return psycopg


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver: Any = connection.connection.driver_connection
    found: psycopg.Connection[Any] = driver
    return found


def _facts(connection: Connection) -> Iterator[tuple[str, str]]:
    """What the schema promises, by name."""
    for table, sound in connection.exec_driver_sql(
        "SELECT relname, relkind = 'r' AND relpersistence = 'p' AND NOT relrowsecurity AND NOT relispartition AND NOT "
        "EXISTS (SELECT FROM pg_inherits WHERE oid IN (inhrelid, inhparent)) FROM pg_class "
        "WHERE relnamespace = 'govern'::regnamespace AND relkind <> 'i'"
    ):
        yield f"table {table}", "plain" if sound else "not plain"
    for table, column, kind, needed, alone in connection.exec_driver_sql(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "NOT a.atthasdef AND a.attidentity = '' FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'govern'::regnamespace AND c.relkind <> 'i' "
        "AND a.attnum > 0 AND NOT a.attisdropped"
    ):
        yield f"column {table}.{column}", kind + " NOT NULL" * needed + " DEFAULT" * (not alone)
    for table, name in connection.exec_driver_sql(
        "SELECT t.relname, c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
        "WHERE t.relnamespace = 'govern'::regnamespace AND c.contype NOT IN ('p', 'u', 'n', 't')"
    ):
        yield f"constraint {table}.{name}", ""
    for table, columns, sound in connection.exec_driver_sql(
        "SELECT t.relname, array_to_string(array(SELECT pg_get_indexdef(i.indexrelid, k, false) "
        "FROM generate_series(1, i.indnatts) k), ', '), "
        "i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
        "WHERE c.relnamespace = 'govern'::regnamespace"
    ):
        yield f"index {table}({columns})", "unique" if sound else "not unique"
    for name, body, plain in connection.exec_driver_sql(
        "SELECT proname, prosrc, NOT prosecdef AND proconfig IS NULL AND lanname = 'plpgsql' FROM pg_proc "
        "JOIN pg_language ON pg_language.oid = prolang WHERE pronamespace = 'govern'::regnamespace"
    ):
        yield f"function {name}", body if plain else "not plain"
    for name, enabled, definition in connection.exec_driver_sql(
        "SELECT t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE c.relnamespace = 'govern'::regnamespace AND NOT t.tgisinternal"
    ):
        yield f"trigger {name}", f"{enabled} {definition}"
    for table, name in connection.exec_driver_sql(
        "SELECT tablename, rulename FROM pg_rules WHERE schemaname = 'govern'"
    ):
        yield f"rule {table}.{name}", ""


def _translated(where: str, error: BaseException | None) -> GovernError:
    state = getattr(error, "sqlstate", None) or ""
    said = str(error).split("\n")[0]
    if state == "55P03":
        return storage.busy(where)
    if state in ("42501", "25006"):
        return _no_rights(where, said)
    if state[:2] in ("53", "58"):
        return GovernError(
            f"the audit log cannot be written: {said}",
            where=where,
            hint="Make room on the server's disk, or repair it; events that were acknowledged are safe.",
        )
    if state[:2] in ("08", "57") or not state:
        return GovernError(
            f"the PostgreSQL server cannot be reached, or ended the connection: {said}",
            where=where,
            hint="See that it runs and lets you in (a password belongs in PGPASSFILE or PGPASSWORD); then look at "
            "`govern audit log`: only an event that was acknowledged is surely in it.",
        )
    # A message may quote a row, so only the server's own words for damage are repeated.
    known = state[:2] in ("XX", "23")
    return IntegrityError(
        f"the audit log is damaged: {said}" if known else f"the audit log is damaged (SQLSTATE {state})",
        where=where,
        hint="Keep the database as evidence and restore the log from a backup.",
    )


def _no_rights(where: str, said: str) -> GovernError:
    return GovernError(
        f"the audit log cannot be used: {said}",
        where=where,
        hint="It takes a server that is no standby, and a role with USAGE on the schema govern "
        "and SELECT and INSERT on its tables.",
    )
