"""``@task``: one decorated function is one Lambda. The decorated name is itself the handler."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, get_type_hints

from pydantic import BaseModel

from tradewind.contracts.events import EVENTS
from tradewind.contracts.payload import Payload
from tradewind.tasks.providers import Need, Provider, provider_of
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.retry import Retry
from tradewind.tasks.triggers import TENANT, Cron, Event, Trigger, Webhook

VISIBILITY_MARGIN = timedelta(seconds=15)
LEASE_MARGIN = timedelta(seconds=5)
MAX_TIMEOUT = timedelta(minutes=15)
_OWN_HANDLER = "_HANDLER"
"""Set by Lambda: what a function needs is imported while it starts, when it has a whole core, not in its first call."""


class NoPayload(Payload):
    """The payload of a task that takes none."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One task: when it runs, how hard it may try, what it needs, and its function.

    ``cap`` is how many runs of one tenant may be at work at once (1 = strictly in order); ``concurrency`` bounds the
    queue's mapping over all tenants. ``starts`` names the tasks that its follow-ups may start: the grants follow it.
    ``entity`` names the payload field whose value orders messages inside a tenant. ``layers`` are folders of
    ``layers/`` whose packages the task's Lambda has beside every function's: import those inside what uses them.
    ``memory`` and ``storage`` (of temporary files) are in MiB.
    """

    id: str
    function: Callable[..., Any]
    triggers: tuple[Trigger, ...]
    payload: type[BaseModel]
    payload_name: str | None
    providers: Mapping[str, Provider]
    timeout: timedelta
    retry: Retry
    each_tenant: bool
    cap: int
    concurrency: int
    memory: int
    backfill: bool
    entity: str | None
    starts: tuple[str, ...]
    starts_workflow: str | None
    layers: tuple[str, ...] = ()
    storage: int = 512
    margin: timedelta = VISIBILITY_MARGIN
    needs: frozenset[Need] = field(default_factory=frozenset)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The bare function, as tests call it with fakes."""
        return self.function

    @property
    def __name__(self) -> str:
        return self.function.__name__

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def handler(self) -> str:
        return f"{self.module}.{self.function.__qualname__}"

    @property
    def domain(self) -> str:
        return self.module.split(".")[0]

    @property
    def feature(self) -> str:
        return self.module.split(".")[1]

    @property
    def description(self) -> str:
        return (inspect.getdoc(self.function) or "").splitlines()[0]

    @property
    def scope(self) -> str:
        """``tenant`` where the task works for one tenant, ``platform`` where it belongs to none."""
        return "platform" if Need.PLATFORM_DATABASE in self.needs else "tenant"

    @property
    def webhooks(self) -> list[Webhook]:
        return [trigger for trigger in self.triggers if isinstance(trigger, Webhook)]

    @property
    def events(self) -> list[Event]:
        return [trigger for trigger in self.triggers if isinstance(trigger, Event)]

    @property
    def crons(self) -> list[Cron]:
        return [trigger for trigger in self.triggers if isinstance(trigger, Cron)]

    @property
    def visibility(self) -> timedelta:
        """The queue's visibility timeout: the task's own and a margin that is longer than the lease's."""
        return self.timeout + self.margin

    def describe(self) -> dict[str, Any]:
        """The registry's line for this task, as ``make tasks`` prints it."""
        return {
            "id": self.id,
            "domain": self.domain,
            "feature": self.feature,
            "kind": "task",
            "triggers": [trigger.describe() for trigger in self.triggers] or ["manual"],
            "handler": self.handler,
            "scope": self.scope,
            "timeout_s": int(self.timeout.total_seconds()),
            "retry": self.retry.describe(),
        }

    def __call__(self, event: Any, context: Any) -> Any:
        """Lambda's entry: any AWS event becomes typed calls of the function."""
        from tradewind.tasks.runtime import handle  # noqa: PLC0415 - the runtime is needed in a Lambda, not at synth

        return handle(self, event, context)


def task(  # noqa: PLR0913 - the decorator is the one place where a task says everything about itself
    task_id: str,
    *,
    webhook: Webhook | tuple[Webhook, ...] = (),
    on: Event | tuple[Event, ...] = (),
    schedule: Cron | tuple[Cron, ...] = (),
    each_tenant: bool = False,
    timeout: timedelta = timedelta(seconds=45),
    retry: Retry | None = None,
    cap: int = 10,
    concurrency: int = 50,
    memory: int = 256,
    backfill: bool = False,
    entity: str | None = None,
    starts: tuple[str, ...] = (),
    starts_workflow: str | None = None,
    layers: tuple[str, ...] = (),
    storage: int = 512,
) -> Callable[[Callable[..., Any]], Task]:
    """Declare a task. Raises at import where the id, the signature or a number cannot work."""

    def decorate(function: Callable[..., Any]) -> Task:
        payload_name, payload, providers = _read_signature(task_id, function)
        made = Task(
            id=task_id,
            function=function,
            triggers=(*_tuple(webhook), *_tuple(on), *_tuple(schedule)),
            payload=payload,
            payload_name=payload_name,
            providers=providers,
            timeout=timeout,
            retry=retry or Retry(),
            each_tenant=each_tenant,
            cap=cap,
            concurrency=concurrency,
            memory=memory,
            backfill=backfill,
            entity=entity,
            starts=starts,
            starts_workflow=starts_workflow,
            layers=layers,
            storage=storage,
            needs=frozenset(need for provider in providers.values() for need in provider.needs),
        )
        _check(made)
        REGISTRY.add(made)
        if os.environ.get(_OWN_HANDLER) == made.handler:
            from tradewind.tasks.runtime import prepare  # noqa: PLC0415 - in the task's own Lambda alone

            prepare(made)
        return made

    return decorate


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _read_signature(
    task_id: str, function: Callable[..., Any]
) -> tuple[str | None, type[BaseModel], dict[str, Provider]]:
    hints = get_type_hints(function)
    payload_name: str | None = None
    payload: type[BaseModel] = NoPayload
    providers: dict[str, Provider] = {}
    for name in inspect.signature(function).parameters:
        wanted = hints.get(name)
        if isinstance(wanted, type) and issubclass(wanted, BaseModel):
            if payload_name is not None:
                raise TypeError(
                    f"task {task_id}: {payload_name} and {name} are both payloads; a task takes one"
                )
            payload_name, payload = name, wanted
        elif (provider := provider_of(wanted)) is not None:
            providers[name] = provider
        else:
            raise TypeError(
                f"task {task_id}: nobody provides {name}: {wanted!r}; see tradewind.tasks.providers"
            )
    return payload_name, payload, providers


def _check(made: Task) -> None:
    problems = {
        "id must be kebab-case": made.id != made.id.lower() or not made.id.replace("-", "").isalnum(),
        "timeout must be above zero and at most 15 minutes": not timedelta() < made.timeout <= MAX_TIMEOUT,
        "cap must lie between 1 and concurrency": not 1 <= made.cap <= made.concurrency,
        "concurrency must lie between 2 and 1000": not 2 <= made.concurrency <= 1000,  # noqa: PLR2004 - AWS's range
        "storage must lie between 512 and 10240": not 512 <= made.storage <= 10_240,  # noqa: PLR2004 - AWS's range
        "its docstring's first line is the function's description and is missing": not made.function.__doc__,
        "an event that starts it has no contract in tradewind.contracts.events": any(
            event.type not in EVENTS for event in made.events
        ),
        "entity must name a payload field": made.entity is not None
        and made.entity not in made.payload.model_fields,
        "a schedule works by tenant (zone, only_due, machine), but each_tenant is off": any(
            (cron.zone == TENANT or cron.only_due or cron.machine) and not made.each_tenant
            for cron in made.crons
        ),
        "a schedule in the tenant's zone cannot be only_due as well": any(
            cron.zone == TENANT and cron.only_due for cron in made.crons
        ),
    }
    for problem, present in problems.items():
        if present:
            raise ValueError(f"task {made.id}: {problem}")
