"""What is checked over the whole application at synth: limits of the account and of the database."""

from __future__ import annotations

from dataclasses import dataclass

from infra.constructs.task_function import mapping_concurrency
from infra.settings import StageSettings
from tradewind.tasks.providers import Need
from tradewind.tasks.registry import Registry

INGRESS_CONNECTIONS = 30
"""Fan-out, relay, intake, dead-letter intake, admin and migrations together."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the registry could use at once, against what there is."""

    mappings: int
    concurrency: int
    connections: int
    max_connections: int


def load_of(registry: Registry, settings: StageSettings) -> Load:
    """Sum the mappings' concurrency, lanes apart; a worker holds one connection a message of its batch."""
    mappings = connections = 0
    for task in registry:
        lanes = 2 if task.backfill else 1
        most = lanes * mapping_concurrency(task, settings.concurrency_limit)
        mappings += most
        if task.needs & {Need.DATABASE, Need.PLATFORM_DATABASE}:
            connections += most * settings.batch_size
    return Load(
        mappings=mappings,
        concurrency=settings.account_concurrency - settings.concurrency_reserve,
        connections=connections
        + (settings.receiver_concurrency or 0)
        + (settings.api_concurrency or 0)
        + (settings.experiments_concurrency or 0)
        + (settings.collect_concurrency or 0)
        + INGRESS_CONNECTIONS,
        max_connections=settings.max_connections,
    )


def warnings_of(load: Load) -> dict[str, str]:
    """Warning id -> text with the remedy; empty where everything fits at once."""
    found = {}
    if load.mappings > load.concurrency:
        found["tradewind:concurrency"] = (
            f"the queues' mappings may run {load.mappings} functions at once, the account leaves them "
            f"{load.concurrency}: raise the Lambda quota 'Concurrent executions' and account_concurrency in "
            "infra/settings.py, or lower concurrency= of some tasks; until then a flood in one queue slows the others"
        )
    if load.connections > load.max_connections:
        found["tradewind:connections"] = (
            f"functions may open {load.connections} database connections, the cluster allows "
            f"{load.max_connections}: raise database_max_acu in infra/settings.py, put a pooling proxy before it, "
            "or lower concurrency= of some tasks"
        )
    return found
