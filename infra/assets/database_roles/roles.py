"""Creates the database's roles with the passwords in their secrets, as the cluster's master; run before
migrations.

None of them is a superuser or may bypass row-level security. The owner gets the database; what the others
may do is the migrations' business. Running it again sets the passwords to those of the secrets and changes
nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
import psycopg
from psycopg import sql

ATTRIBUTES = sql.SQL("LOGIN NOCREATEDB NOCREATEROLE")
"""Not superuser and not bypassing row-level security is what a role is unless a superuser says otherwise."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, list[str]]:  # noqa: ARG001 - Lambda's signature
    """Lambda's entry. ``MASTER_SECRET`` and ``ROLE_SECRETS`` (a JSON list, the owner's first) name the
    secrets. Returns the roles.
    """
    secrets = boto3.client("secretsmanager")

    def login(name: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
        return found

    master = login(os.environ["MASTER_SECRET"])
    roles = [login(name) for name in json.loads(os.environ["ROLE_SECRETS"])]
    with psycopg.connect(
        host=master["host"],
        port=master["port"],
        dbname=master["dbname"],
        user=master["username"],
        password=master["password"],
        sslmode="require",
        connect_timeout=10,
    ) as connection:
        create_roles(connection, [(role["username"], role["password"]) for role in roles])
    return {"roles": [role["username"] for role in roles]}


def create_roles(connection: psycopg.Connection[Any], logins: Sequence[tuple[str, str]]) -> None:
    """Create what is missing, set each password, and give the database to the first, in one transaction."""
    for role, password in logins:
        present = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        verb = sql.SQL("CREATE ROLE" if present is None else "ALTER ROLE")
        # Hashed here: a password in a statement would show in the server's log.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(
            sql.SQL("{} {} WITH {} PASSWORD {}").format(
                verb, sql.Identifier(role), ATTRIBUTES, sql.Literal(verifier)
            )
        )
    _give_database_to(logins[0][0], connection)


def _give_database_to(owner: str, connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(
        "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if row is None or row[1] == owner:
        return
    # Giving something away takes membership in the role that receives it.
    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE").format(sql.Identifier(owner)))
    connection.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(row[0]), sql.Identifier(owner))
    )
