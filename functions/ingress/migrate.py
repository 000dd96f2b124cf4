"""Run the numbered SQL migrations as the schema's owner, inside the network where the database is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyo import get_backend, read_migrations  # type: ignore[import-untyped]

import tradewind
from tradewind.aws.client import AwsClient
from tradewind.loglines import log_line
from tradewind.settings import current_settings
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.secrets import database_url

_APPLIED = "SELECT migration_id FROM _yoyo_migration"


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry. Applies what is missing and returns the names of what was applied and of all there is; asked to
    ``check`` it only says what is missing.
    """
    settings = current_settings()
    url = database_url(settings, AwsClient(settings.region, settings.endpoint_url))
    return find_missing(url) if event.get("check") else migrate(url)


def find_missing(url: str) -> dict[str, Any]:
    """What ``migrate`` would apply, and what was applied that this release does not know. Changes nothing."""
    known = [migration.id for migration in _known()]
    connections = Connections(url)
    session = Session(connections)
    try:
        [there] = session.call("SELECT to_regclass('_yoyo_migration') IS NOT NULL AS is_there", {})
        rows = session.call(_APPLIED, {}) if there["is_there"] else []
    finally:
        session.close()
        connections.close()
    applied = {row["migration_id"] for row in rows}
    return {
        "missing": [name for name in known if name not in applied],
        "unknown": sorted(applied - set(known)),
        "known": known,
    }


def _known() -> Any:
    return read_migrations(str(Path(tradewind.__file__).with_name("migrations")))


def migrate(url: str) -> dict[str, Any]:
    """Apply missing migrations in order, each in its own transaction, one runner at a time."""
    backend = get_backend(url.replace("postgresql://", "postgresql+psycopg://", 1))
    known = _known()
    with contextlib.closing(backend.connection), backend.lock(timeout=60):
        missing = backend.to_apply(known)
        names = [migration.id for migration in missing]
        backend.apply_migrations(missing)
    log_line("info", "migrations applied", applied=names, known=len(known))
    return {"applied": names, "known": [migration.id for migration in known]}
