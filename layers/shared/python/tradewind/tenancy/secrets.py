"""Where a function's database address comes from: a URL (local) or a secret of its own role (AWS)."""

from __future__ import annotations

import json
from urllib.parse import quote

from tradewind.aws.client import AwsClient
from tradewind.errors import MisconfiguredError
from tradewind.settings import Settings

_FIELDS = ("host", "port", "dbname", "username", "password")


def database_url(settings: Settings, client: AwsClient) -> str:
    """The address with its role and password. Raises MisconfiguredError that names what is missing."""
    if settings.database_url:
        return settings.database_url
    return url_from_secret(
        read_secret(client, settings.database_secret or ""), settings.database_secret or ""
    )


def read_secret(client: AwsClient, name: str) -> dict[str, str]:
    """A secret's JSON object."""
    answer = client.json_call(
        "secretsmanager", "secretsmanager.GetSecretValue", {"SecretId": name}, version="1.1"
    )
    parsed: dict[str, str] = json.loads(answer["SecretString"])
    return parsed


def url_from_secret(secret: dict[str, str], name: str) -> str:
    missing = [field for field in _FIELDS if not secret.get(field)]
    if missing:
        raise MisconfiguredError(f"secret {name} lacks {', '.join(missing)}")
    user, password = quote(str(secret["username"]), safe=""), quote(str(secret["password"]), safe="")
    return (
        f"postgresql://{user}:{password}@{secret['host']}:{secret['port']}/{secret['dbname']}?sslmode=require"
    )
