"""What differs between stages, in one table, and the addresses of a running local cloud."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from infra.names import LOCAL, Names
from infra.pace import WHOLE, Pace
from tradewind.tasks.task import MAX_TIMEOUT

BUILDER_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""By default functions run on the minor version that built and tested them."""


class SettingError(ValueError):
    """A context value or variable of the deployment is missing or unusable; the message says what to set."""


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """Where the local cloud's parts listen, as its launcher hands it over in ``TRADEWIND_LOCAL_*``."""

    app_database_url: str
    platform_database_url: str
    owner_database_url: str
    redis_url: str
    sandbox_url: str
    aws_endpoint_url: str
    python: str
    kernel: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> LocalCloud:
        """Raises SettingError with every variable that is missing."""
        variables = {name: f"TRADEWIND_LOCAL_{name.upper()}" for name in cls.__slots__}
        missing = [variable for variable in variables.values() if not environment.get(variable)]
        if missing:
            raise SettingError(f"stage local needs {', '.join(missing)}; `make up` sets them all")
        return cls(**{name: environment[variable] for name, variable in variables.items()})


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Every number that a stage may choose. Durations are timedeltas; ``None`` means no limit of its own."""

    stage: str
    local: LocalCloud | None = None
    runtime: str = BUILDER_RUNTIME
    keep_data: bool = True
    """Whether database, key and bucket outlive their stack and stacks refuse to be deleted."""

    log_retention_days: int = 14
    batch_size: int = 1
    """Messages of a task a batch. A batch prefers one message group, whose messages run one after the other
    inside one function timeout; a second message would mostly be handed back.
    """

    concurrency_limit: int | None = None
    """Lowers every mapping's concurrency."""
    account_concurrency: int = 1000
    concurrency_reserve: int = 200
    """Of the account's concurrent executions, what receiver, ingress and manual runs keep for themselves."""
    receiver_concurrency: int | None = 100
    api_concurrency: int | None = 50
    """What the platform's own API may use at once: a flood of events leaves webhooks and tasks their room."""
    experiments_concurrency: int | None = 50
    """The same for the door of A/B tests: what visitors do all over a storefront comes through it."""
    collect_concurrency: int | None = 50
    """The same for the door of visitors' touches."""

    database_min_acu: float = 0.5
    database_max_acu: float = 8
    database_readers: int = 0
    cache_max_gb: int = 5
    cache_max_ecpu_per_second: int = 15000
    nat_gateways: int = 1
    lean: bool = False
    """No interface endpoints: functions reach AWS as they reach the providers, through the NAT gateway. Cheaper
    below some 1,700 GB a month; `make cost LEAN=1` shows the difference.
    """
    quiet: bool = False
    """No access logs of the API, and of workflows only the failures: a tenth of an order's cost, at the price that the
    console shows no run of an Express machine that went well. `make cost QUIET=1` shows the difference.
    """
    system_log_level: str = "WARN"
    """Lambda's own log lines: INFO adds START, END and REPORT to each invocation, some 400 bytes; the same numbers are
    in its metrics.
    """

    webhook_rate: int = 500
    """Requests a second that the API lets through, over all shops."""
    webhook_burst: int = 1000
    message_age_alarm: timedelta = timedelta(minutes=15)
    backfill_age_alarm: timedelta = timedelta(hours=12)
    order_latency_alarm: timedelta = timedelta(seconds=30)

    pace: Pace = field(default_factory=Pace)
    """Shortens every task's time-out, visibility, lease and workflow alike; suites do."""
    unsent_after: timedelta = timedelta(seconds=30)
    """When the relay sends what was admitted and not sent."""
    lost_after: timedelta = timedelta(minutes=15)
    """When the relay sends again what was sent and never begun."""
    crash_orders: str | None = None
    """A folder with orders to crash, in the local stage alone."""
    schedules_fire: bool = True
    """Off, every schedule is there and disabled: a suite that compares runs fires them itself."""
    deployed_domains: tuple[str, ...] | None = None
    """The domains whose stacks a local cloud deploys; None: all."""

    names: Names = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Names(self.stage))
        if self.crash_orders is not None and not self.is_local:
            raise SettingError(f"stage {self.stage} takes no orders to crash")

    @property
    def is_local(self) -> bool:
        return self.stage == LOCAL

    @property
    def cloud(self) -> LocalCloud:
        """The local cloud. Raises SettingError on any other stage."""
        if self.local is None:
            raise SettingError(f"stage {self.stage} has no local cloud")
        return self.local

    @property
    def max_connections(self) -> int:
        """What Aurora Serverless v2 allows at this maximum capacity: memory (2 GiB per ACU) / 9,531,392
        bytes, at most 5,000, and 2,000 where the minimum is 0.5 ACU or less.
        """
        by_memory = int(self.database_max_acu * 2 * 1024**3 / 9_531_392)
        return min(by_memory, 2000 if self.database_min_acu <= 0.5 else 5000)  # noqa: PLR2004 - AWS's own bounds


def stage_settings(stage: str, environment: Mapping[str, str]) -> StageSettings:
    """Raises SettingError where the stage is unknown or the local cloud is not described."""
    if stage == LOCAL:
        return StageSettings(
            LOCAL,
            local=LocalCloud.read(environment),
            runtime="provided.al2023",
            keep_data=False,
            receiver_concurrency=None,
            api_concurrency=None,
            experiments_concurrency=None,
            collect_concurrency=None,
            **_read_trial(environment),
        )
    if stage == "dev":
        return StageSettings("dev", keep_data=False)
    if stage == "prod":
        return StageSettings(
            "prod",
            log_retention_days=30,
            account_concurrency=3000,
            concurrency_reserve=500,
            receiver_concurrency=400,
            api_concurrency=100,
            experiments_concurrency=200,
            collect_concurrency=200,
            database_min_acu=2,
            database_max_acu=32,
            database_readers=1,
            cache_max_gb=20,
            cache_max_ecpu_per_second=50000,
            nat_gateways=2,
            webhook_rate=2000,
            webhook_burst=4000,
        )
    raise SettingError(f"unknown stage {stage!r}; choose -c stage=local, dev or prod")


def _read_trial(environment: Mapping[str, str]) -> dict[str, Any]:
    """What a suite changes in the local stage; see ``infra.local.trial``."""

    def whole(name: str, otherwise: int) -> int:
        text = environment.get(name, str(otherwise))
        if not text.isdigit() or int(text) == 0:
            raise SettingError(f"{name} is {text!r}; set a positive whole number")
        return int(text)

    return {
        "concurrency_limit": whole("TRADEWIND_LOCAL_CONCURRENCY", 4),
        "pace": Pace(
            whole("TRADEWIND_LOCAL_TIME_PERCENT", WHOLE),
            timedelta(seconds=whole("TRADEWIND_LOCAL_LONGEST_TIME_S", int(MAX_TIMEOUT.total_seconds()))),
        ),
        "unsent_after": timedelta(seconds=whole("TRADEWIND_LOCAL_UNSENT_AFTER_S", 30)),
        "lost_after": timedelta(seconds=whole("TRADEWIND_LOCAL_LOST_AFTER_S", 900)),
        "crash_orders": environment.get("TRADEWIND_LOCAL_CRASH_ORDERS"),
        "schedules_fire": environment.get("TRADEWIND_LOCAL_SCHEDULES") != "off",
        "deployed_domains": tuple(chosen.split(","))
        if (chosen := environment.get("TRADEWIND_LOCAL_DOMAINS"))
        else None,
    }
