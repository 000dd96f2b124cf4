"""What one message's work is made of, and the factories that hand its parts to the task's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.aws.machines import LongExecutions, StepFunctions
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Queues
from tradewind.clock import Clock, SystemClock
from tradewind.settings import Settings
from tradewind.tasks.run import Outbox, Run
from tradewind.tenancy.credentials import CredentialVault
from tradewind.tenancy.database import Connections, PlatformDb, Session, TenantDb
from tradewind.tenancy.directory import PostgresTenantDirectory
from tradewind.tenancy.links import TenantLinks
from tradewind.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Process:
    """What lives as long as the process: settings, connections, AWS."""

    settings: Settings
    connections: Connections
    aws: AwsClient
    queues: Queues
    payloads: PayloadStore
    clock: Clock


@dataclass(frozen=True, slots=True)
class Scope:
    """What lives as long as one message."""

    process: Process
    session: Session
    tenant: Tenant
    run: Run
    outbox: Outbox

    @property
    def settings(self) -> Settings:
        return self.process.settings


@cache
def vault_of(settings: Settings) -> CredentialVault:
    """The process's credential vault, with its cached data keys."""
    return CredentialVault(KeyService(AwsClient(settings.region, settings.endpoint_url), settings.kms_key))


def clock(scope: Scope) -> Clock:
    return scope.process.clock


def run(scope: Scope) -> Run:
    return scope.run


def outbox(scope: Scope) -> Outbox:
    return scope.outbox


def tenant(scope: Scope) -> Tenant:
    return scope.tenant


def tenant_db(scope: Scope) -> TenantDb:
    return TenantDb(scope.session, scope.tenant.id)


def platform_db(scope: Scope) -> PlatformDb:
    return PlatformDb(scope.session)


def directory(scope: Scope) -> PostgresTenantDirectory:
    return PostgresTenantDirectory(PlatformDb(scope.session))


def unsubscribe_links(scope: Scope) -> TenantLinks:
    return TenantLinks(scope.tenant, scope.session, vault_of(scope.settings))


class SettledMachines:
    """Step Functions, with the open transaction committed first: none is held over a network call."""

    def __init__(self, session: Session, machines: StepFunctions) -> None:
        self._session = session
        self._machines = machines

    def run(self, workflow: str, name: str, payload: dict[str, object]) -> object:
        self._session.settle()
        return self._machines.run(workflow, name, payload)


class SettledPayloads:
    """The payload store, with the open transaction committed first: none is held over a network call."""

    def __init__(self, session: Session, payloads: PayloadStore) -> None:
        self._session = session
        self._payloads = payloads

    def put(self, key: str, body: bytes) -> None:
        self._session.settle()
        self._payloads.put(key, body)

    def get(self, key: str) -> bytes:
        self._session.settle()
        return self._payloads.get(key)

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        self._session.settle()
        self._payloads.put_file(key, path, sha256)

    def get_file(self, key: str, path: Path) -> None:
        self._session.settle()
        self._payloads.get_file(key, path)

    def delete(self, key: str) -> None:
        self._session.settle()
        self._payloads.delete(key)

    def list(self, prefix: str, after: str = "") -> Sequence[str]:
        self._session.settle()
        return self._payloads.list(prefix, after)


def payloads(scope: Scope) -> SettledPayloads:
    return SettledPayloads(scope.session, scope.process.payloads)


def machines(scope: Scope) -> SettledMachines:
    settings = scope.settings
    client = AwsClient(settings.region, settings.endpoint_url, timeout=settings.workflow_start_timeout)
    return SettledMachines(scope.session, StepFunctions(client, settings))


class SettledExecutions:
    """Standard machines, with the open transaction committed first: none is held over a network call."""

    def __init__(self, session: Session, executions: LongExecutions) -> None:
        self._session = session
        self._executions = executions

    def start(self, machine: str, name: str, payload: Mapping[str, object]) -> None:
        self._session.settle()
        self._executions.start(machine, name, payload)

    def count_running(self, machine: str, most: int) -> int:
        self._session.settle()
        return self._executions.count_running(machine, most)


def long_machines(scope: Scope) -> SettledExecutions:
    return SettledExecutions(scope.session, LongExecutions(scope.process.aws, scope.settings))


def system_process(settings: Settings, database_url: str) -> Process:
    """Build the process's parts from settings."""
    aws = AwsClient(settings.region, settings.endpoint_url)
    return Process(
        settings=settings,
        connections=Connections(database_url),
        aws=aws,
        queues=Queues(aws, settings.queue_prefix),
        payloads=PayloadStore(aws, settings.payload_bucket, settings.region),
        clock=SystemClock(),
    )
