"""The local cloud: PostgreSQL, Valkey, an AWS emulator and the provider sandbox, started by one command.

Also for tests: each server alone, for the duration of a `with` block.
"""

from infra.local.cloud import StartError, StopError, local_cloud
from infra.local.postgres import PostgresServer, postgres_server
from infra.local.state import State, find_state
from infra.local.valkey import ValkeyServer, valkey_server

__all__ = [
    "PostgresServer",
    "StartError",
    "State",
    "StopError",
    "ValkeyServer",
    "find_state",
    "local_cloud",
    "postgres_server",
    "valkey_server",
]
