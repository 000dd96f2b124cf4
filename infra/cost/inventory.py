"""What a stage consists of, as far as it is billed: read from its CloudFormation templates."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

HOURS_A_MONTH = Decimal(730)
MINUTES_AN_HOUR = Decimal(60)
DAYS_A_MONTH = HOURS_A_MONTH / 24
LISTING = "ingress-fan-out"
"""Whom a state machine asks for the tenants that it goes through."""
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_MINUTES = {"minute": Decimal(1), "hour": Decimal(60), "day": Decimal(1440)}
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")


@dataclass(frozen=True, slots=True)
class Clock:
    """A schedule: how often it runs in a month, whom it invokes, and the task that it is for (None: itself)."""

    name: str
    runs: Decimal
    function: str
    task: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts of what is billed by its existence. ``memory_mb`` is by function name without the stage's prefix."""

    memory_mb: Mapping[str, Decimal]
    clocks: Sequence[Clock]
    quiet: frozenset[str] = frozenset()
    """Functions for whose invocations Lambda itself writes no lines."""
    traced_workflows: bool = True
    """Whether a workflow logs each of its transitions."""
    access_logs: bool = True
    mappings: int = 0
    alarms: int = 0
    query_alarms: int = 0
    dashboards: int = 0
    keys: int = 0
    secrets: int = 0
    nat_gateways: int = 0
    endpoint_zones: int = 0
    """Interface endpoints times the zones each lies in: a network interface is billed in every zone."""
    database_instances: int = 0
    database_min_acu: Decimal = field(default=Decimal(0))
    caches: int = 0


def read_templates(folder: Path) -> list[Mapping[str, Any]]:
    """Every template of an assembly, decimals kept exact. Raises FileNotFoundError where there is none."""
    paths = sorted(folder.glob("*.template.json"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no templates; synthesize the stage first")
    return [json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal) for path in paths]


def take_inventory(templates: Sequence[Mapping[str, Any]], prefix: str) -> Inventory:
    """Count. ``prefix`` is the stage's, such as ``tradewind-dev-``."""
    resources = [(each["Type"], each.get("Properties", {})) for each in _resources(templates)]
    kinds = Counter(kind for kind, _ in resources)
    alarms = [properties for kind, properties in resources if kind == "AWS::CloudWatch::Alarm"]
    return Inventory(
        memory_mb={
            properties["FunctionName"].removeprefix(prefix): Decimal(properties.get("MemorySize", 128))
            for kind, properties in resources
            if kind == "AWS::Lambda::Function"
        },
        clocks=[
            _clock(properties, prefix) for kind, properties in resources if kind == "AWS::Scheduler::Schedule"
        ],
        quiet=frozenset(
            properties["FunctionName"].removeprefix(prefix)
            for kind, properties in resources
            if kind == "AWS::Lambda::Function"
            and properties.get("LoggingConfig", {}).get("SystemLogLevel") == "WARN"
        ),
        traced_workflows=any(
            properties["LoggingConfiguration"]["Level"] == "ALL"
            for kind, properties in resources
            if kind == "AWS::StepFunctions::StateMachine" and properties["StateMachineType"] == "EXPRESS"
        ),
        access_logs=any(
            "AccessLogSettings" in properties
            for kind, properties in resources
            if kind == "AWS::ApiGatewayV2::Stage"
        ),
        mappings=kinds["AWS::Lambda::EventSourceMapping"],
        alarms=sum("Metrics" not in alarm for alarm in alarms),
        query_alarms=sum("Metrics" in alarm for alarm in alarms),
        dashboards=kinds["AWS::CloudWatch::Dashboard"],
        keys=kinds["AWS::KMS::Key"],
        secrets=kinds["AWS::SecretsManager::Secret"],
        nat_gateways=kinds["AWS::EC2::NatGateway"],
        endpoint_zones=sum(
            len(properties["SubnetIds"])
            for kind, properties in resources
            if kind == "AWS::EC2::VPCEndpoint" and properties.get("VpcEndpointType") == "Interface"
        ),
        database_instances=kinds["AWS::RDS::DBInstance"],
        database_min_acu=sum(
            (
                Decimal(properties["ServerlessV2ScalingConfiguration"]["MinCapacity"])
                for kind, properties in resources
                if kind == "AWS::RDS::DBCluster"
            ),
            Decimal(0),
        ),
        caches=kinds["AWS::ElastiCache::ServerlessCache"],
    )


def runs_a_month(expression: str) -> Decimal:
    """How often an EventBridge expression fires in 730 hours. Raises ValueError on a form that is not read."""
    rate = _RATE.fullmatch(expression)
    if rate is not None:
        return HOURS_A_MONTH * MINUTES_AN_HOUR / (Decimal(rate[1]) * _MINUTES[rate[2]])
    cron = _CRON.fullmatch(expression)
    if cron is None:
        raise ValueError(f"schedule {expression!r} is neither rate(...) nor cron(...)")
    minute, hour, day, month, weekday, _ = cron.groups()
    times = Decimal(_count(minute, 60) * _count(hour, 24))
    by_weekday = DAYS_A_MONTH * _count(weekday, 7, 1) / 7
    days = by_weekday if day in ("*", "?") else Decimal(_count(day, 31, 1))
    return times * days * _count(month, 12, 1) / 12


def _count(part: str, whole: int, lowest: int = 0) -> int:
    """How many of its ``whole`` values a field of a cron expression takes: ``*``, ``5``, ``0/15``, ``1-5``, ``2,4``."""
    if part in ("*", "?"):
        return whole
    return sum(_span(piece, whole, lowest) for piece in part.split(","))


def _span(piece: str, whole: int, lowest: int) -> int:
    bounds, _, step = piece.partition("/")
    first, _, last = bounds.partition("-")
    if last:
        size = int(last) - int(first) + 1 if first.isdigit() else _weekday(last) - _weekday(first) + 1
    elif step:
        size = whole - (int(first) - lowest if first.isdigit() else 0)
    else:
        size = 1
    return -(-size // int(step)) if step else size


def _weekday(name: str) -> int:
    return ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT").index(name)


def _resources(templates: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for template in templates:
        yield from template["Resources"].values()


def _clock(properties: Mapping[str, Any], prefix: str) -> Clock:
    target = properties["Target"]
    arn = "".join(part for part in target["Arn"]["Fn::Join"][1] if isinstance(part, str))
    goes_through_tenants = ":stateMachine:" in arn
    return Clock(
        name=properties["Name"],
        runs=runs_a_month(properties["ScheduleExpression"]),
        function=LISTING if goes_through_tenants else arn.rsplit(":", 1)[-1].removeprefix(prefix),
        task=json.loads(target["Input"]).get("task"),
    )
