from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.cost.data import (
    CostDataError,
    Measured,
    Prices,
    Traffic,
    Work,
    load_measured,
    load_prices,
    load_traffic,
)
from infra.cost.estimate import Call, Estimate, Line, Paths, Section, total
from infra.cost.inventory import Clock, Inventory, read_templates, runs_a_month, take_inventory
from infra.cost.report import as_json, table

D = Decimal
PRICES = load_prices()
TRAFFIC = load_traffic().model_copy(
    update={
        "webhooks": {"orders/create": D(1), "orders/updated": D(3)},
        "discount_code_share": D("0.5"),
        "retried_share": D(0),
        "oversized_share": D(0),
        "webhook_kb": D(16),
        "provider_call_ms": D(100),
        "provider_in_kb": D(12),
        "provider_out_kb": D(4),
        "aws_call_ms": D(10),
        "database_factor": D(2),
        "cold_share": D(0),
        "kms_calls_per_invocation": D(0),
        "step_overhead_ms": D(20),
        "lambda_log_bytes": D(500),
    }
)
MEASURED = Measured(
    measured_on="2026-01-01",
    method="made up",
    work={
        "ingress-receiver@webhook": Work(
            cpu_ms=D(4), database_ms=D(1), aws_calls=D(1), log_bytes=D("573.741824")
        ),
        "start@webhook": Work(cpu_ms=D(5), database_ms=D(0), log_bytes=D("573.741824")),
        "save@webhook": Work(cpu_ms=D(10), database_ms=D(5), provider_calls=D(1), log_bytes=D("573.741824")),
        "save@workflow": Work(cpu_ms=D(10), database_ms=D(5), provider_calls=D(1), log_bytes=D("573.741824")),
        "book@workflow": Work(cpu_ms=D(10), database_ms=D(5), log_bytes=D("573.741824")),
        "sweep@schedule": Work(cpu_ms=D(10), database_ms=D(0), log_bytes=D(0)),
        "ingress-fan-out@schedule": Work(cpu_ms=D(10), database_ms=D(0), log_bytes=D(0)),
    },
)
PATHS = Paths(
    tasks={"orders/create": ("start",), "orders/updated": ("save",), "orders/paid": ("save",)},
    steps={"start": (("save", False), ("book", True))},
    each_tenant=frozenset({"sweep"}),
)
FUNCTIONS = ("ingress-receiver", "ingress-fan-out", "start", "save", "book", "sweep")
INVENTORY = Inventory(
    memory_mb=dict.fromkeys(FUNCTIONS, D(1769)),
    clocks=[Clock("hourly", D(730), "ingress-fan-out", "sweep")],
    mappings=3,
    alarms=7,
    query_alarms=2,
    dashboards=1,
    keys=1,
    secrets=4,
    nat_gateways=1,
    endpoint_zones=8,
    database_instances=1,
    database_min_acu=D("0.5"),
    caches=1,
)


def estimate(**changes: Any) -> Estimate:
    parts: dict[str, Any] = {
        "inventory": INVENTORY,
        "paths": PATHS,
        "traffic": TRAFFIC,
        "measured": MEASURED,
        "prices": PRICES,
    }
    return Estimate(**{**parts, **changes})


def dollars(name: str, tenants: int = 2, **changes: Any) -> Decimal:
    found = [
        line.usd
        for line in estimate(**changes).lines(tenants)
        if line.name == name and "orders" in line.section
    ]
    assert len(found) == 1, name
    return found[0]


def test_prices_are_the_published_ones() -> None:
    wanted = {
        "lambda_request": (1_000_000, "0.20"),
        "lambda_gb_second_arm64": (1_000_000, "13.3334"),
        "express_request": (1_000_000, "1.00"),
        "express_gb_second": (1_000_000, "16.67"),
        "sqs_fifo_request": (1_000_000, "0.50"),
        "http_api_request": (1_000_000, "1.00"),
        "scheduler_invocation": (1_000_000, "1.00"),
        "log_gb": (10, "5.00"),
        "metric_month": (10, "3.00"),
        "alarm_month": (10, "1.00"),
        "kms_request": (1_000_000, "3.00"),
        "secret_request": (1_000_000, "5.00"),
        "s3_put": (1_000_000, "5.00"),
        "s3_get": (1_000_000, "0.40"),
        "nat_hour": (730, "32.85"),
        "endpoint_hour": (730, "7.30"),
        "aurora_acu_hour": (730, "87.60"),
    }
    assert {name: PRICES.rate(name).of(D(quantity)) for name, (quantity, _) in wanted.items()} == {
        name: D(usd) for name, (_, usd) in wanted.items()
    }


def test_every_price_has_a_source_and_is_used_by_a_line() -> None:
    assert all(rate.source and rate.unit for rate in PRICES.rates.values())
    source = (Path(__file__).parents[2] / "infra/cost/estimate.py").read_text()
    assert [name for name in PRICES.rates if f'"{name}"' not in source] == []


@pytest.mark.parametrize(
    ("function", "source", "milliseconds"),
    [
        ("ingress-receiver", "webhook", 16),  # 4 + 2 x 1 + 1 x 10
        ("save", "webhook", 120),  # 10 + 2 x 5 + 1 x 100
        ("book", "workflow", 20),
        ("start", "webhook", 165),  # 5, then save 120 + 20, then half of book's 20 + 20
    ],
)
def test_duration_is_work_plus_waits_and_a_starter_waits_for_its_workflow(
    function: str, source: str, milliseconds: int
) -> None:
    assert estimate().milliseconds(Call(function, source, D(1))) == milliseconds


def test_less_memory_slows_the_processor_but_not_the_waits() -> None:
    half = replace(INVENTORY, memory_mb=dict.fromkeys(FUNCTIONS, D("884.5")))
    assert estimate(inventory=half).milliseconds(Call("save", "webhook", D(1))) == 130


def test_more_memory_than_a_core_makes_nothing_faster() -> None:
    large = replace(INVENTORY, memory_mb=dict.fromkeys(FUNCTIONS, D(3538)))
    assert estimate(inventory=large).milliseconds(Call("save", "webhook", D(1))) == 120


def test_cold_starts_are_billed_by_their_share() -> None:
    cold = TRAFFIC.model_copy(update={"cold_share": D("0.01"), "cold_start_ms": D(300)})
    assert estimate(traffic=cold).milliseconds(Call("book", "workflow", D(1))) == 23


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("API Gateway HTTP API requests", "4.00"),  # 4 webhooks
        ("Lambda requests", "1.90"),  # 4 receivers, 1 + 3 messages, 1 + 0.5 steps: 9.5
        ("Step Functions Express requests", "1.00"),
        # 120 + 20 + 20 ms is billed as 200 ms of 64 MB: 12,500 GB-s
        ("Step Functions Express duration (200 ms)", "0.208375"),
        ("SQS requests", "6.00"),  # 4 messages, sent, received, deleted
        ("Logs of functions", "4.75"),  # 9.5 x 1,073.741824 bytes: 9.5 GB
        ("KMS requests", "0"),
    ],
)
def test_a_million_orders_by_hand(name: str, usd: str) -> None:
    assert dollars(name) == D(usd)


def test_gb_seconds_are_billed_at_the_functions_memory() -> None:
    one_gb = replace(INVENTORY, memory_mb=dict.fromkeys(FUNCTIONS, D(1024)))
    slower = 10 * D(1769) / 1024 + 110  # 127.28 ms
    assert slower.quantize(D("0.01")) == D("127.28")
    # 3 updates x 128 ms x 1 GB: 384,000 GB-s
    assert dollars("Lambda save (webhook, 128 ms)", inventory=one_gb) == D("5.1200256")


def test_retries_cost_another_receive_and_a_visibility() -> None:
    again = TRAFFIC.model_copy(update={"retried_share": D("0.1")})
    assert dollars("SQS requests", traffic=again) == D("6.40")  # 4 x (3 + 0.1 x 2) = 12.8 M


def test_bodies_above_64_kb_count_as_several_requests() -> None:
    large = TRAFFIC.model_copy(update={"webhook_kb": D(65)})
    assert dollars("SQS requests", traffic=large) == D("10.00")  # 4 x (2 + 2 + 1) = 20 M


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        # 3 mappings x 5 pollers x 2,628,000 s / 20 s = 1,971,000
        ("SQS idle polls of 3 mappings", "0.9855"),
        ("Scheduler invocations", "0.00073"),
        ("SQS requests of schedules", "0.00219"),  # 730 hours x 2 tenants x 3
        ("Lambda requests", "0.000438"),  # 730 fan-outs and 1,460 sweeps
        ("Custom metrics", "0.60"),  # 2 tasks
        ("Alarms", "0.70"),
        ("Alarms over queries", "0.40"),  # 2 alarms x 2 metrics
        ("Dashboard", "3.00"),
        ("KMS key", "1.00"),
        ("Secrets", "1.60"),
        ("NAT gateways", "32.85"),
        ("Public addresses", "3.65"),
        ("Interface endpoints, each in its zones", "58.40"),
        ("Aurora, minimum capacity", "43.80"),
        ("ElastiCache, minimum", "6.132"),
    ],
)
def test_an_idle_month_by_hand(name: str, usd: str) -> None:
    found = [line.usd for line in estimate().lines(2) if line.name == name and "idle" in line.section]
    assert found == [D(usd)]


WITH_EVENTS = MEASURED.model_copy(
    update={
        "work": {
            **MEASURED.work,
            "ingress-relay@event": Work(cpu_ms=D(10), database_ms=D(0), log_bytes=D(0), times_an_order=D(1)),
            "book@event": Work(cpu_ms=D(10), database_ms=D(5), log_bytes=D(0), times_an_order=D("1.5")),
            "elsewhere@event": Work(cpu_ms=D(10), database_ms=D(5), log_bytes=D(0), times_an_order=D(9)),
            "ingress-collect@page": Work(cpu_ms=D(2), database_ms=D(4), log_bytes=D("573.741824")),
        }
    }
)
WIDER = replace(
    INVENTORY,
    memory_mb=dict.fromkeys((*FUNCTIONS, "ingress-relay", "ingress-collect"), D(1024)),
    access_logs=True,
)


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        # 9.5 as above, the relay once and the event's task one and a half times; nothing of what is not deployed.
        ("Lambda requests", "2.40"),
        # 4 messages of webhooks and 1.5 of events, each sent, received, deleted; the relay's call is no message.
        ("SQS requests", "8.25"),
    ],
)
def test_an_orders_own_events_are_counted_as_often_as_measured(name: str, usd: str) -> None:
    assert dollars(name, inventory=WIDER, measured=WITH_EVENTS) == D(usd)


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("API Gateway, collect", "1.00"),
        ("Lambda requests, collect", "0.20"),
        # 2 ms on 1024 of 1769 MB is 3.455, and 2 x 4 of waiting: 12 ms of 1 GB, a million times: 12,000 GB-s
        ("Lambda ingress-collect (page, 12 ms)", "0.1600008"),
        # 1,073.741824 bytes, and 330 of the access log: 1 GB and 330 MB
        ("Logs, collect", "0.6536682"),
    ],
)
def test_a_pages_door_is_priced_for_itself(name: str, usd: str) -> None:
    lines = estimate(inventory=WIDER, measured=WITH_EVENTS).lines(2)
    found = [line.usd for line in lines if line.name == name and line.section is Section.PAGES]
    assert [each.quantize(D("0.0000001")) for each in found] == [D(usd).quantize(D("0.0000001"))]
    assert "page" not in "".join(
        line.name for line in lines if line.section in (Section.ORDERS, Section.IDLE)
    )


def test_a_schedule_for_whom_it_is_due_runs_for_no_idle_tenant() -> None:
    due = replace(PATHS, only_due=frozenset({"sweep"}))
    idle = {line.name: line.usd for line in estimate(paths=due).lines(2) if "idle" in line.section}
    assert idle["SQS requests of schedules"] == 0
    assert idle["Lambda requests"] == D("0.000146")  # 730 fan-outs alone


def test_without_endpoints_what_is_sent_goes_through_the_nat() -> None:
    lean = replace(INVENTORY, endpoint_zones=0)
    # 4 provider calls of 16 KB, and 4 messages of 16 KB: 64,000,000 KB each
    assert dollars("NAT traffic") == 64_000_000 / D(2**20) * D("0.045")
    assert dollars("NAT traffic", inventory=lean) == 128_000_000 / D(2**20) * D("0.045")
    assert dollars("Endpoint traffic") == 64_000_000 / D(2**20) * D("0.01")
    assert dollars("Endpoint traffic", inventory=lean) == D(0)
    idle = {line.name: line.usd for line in estimate(inventory=lean).lines(2)}
    assert idle["Interface endpoints, each in its zones"] == D(0)


def test_what_was_not_measured_is_named() -> None:
    unmeasured = MEASURED.model_copy(update={"work": {}})
    with pytest.raises(CostDataError, match=r"measured\.json has no 'ingress-receiver@webhook'"):
        estimate(measured=unmeasured).lines(1)


def test_what_has_no_price_is_named() -> None:
    with pytest.raises(CostDataError, match=r"prices\.json has no rate 'http_api_request'"):
        estimate(prices=Prices(region="r", currency="USD", as_of="", note="", rates={})).lines(1)


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("rate(1 minute)", "43800"),
        ("rate(2 hours)", "365"),
        ("cron(30 * * * ? *)", "730"),
        ("cron(0/15 * * * ? *)", "2920"),
        ("cron(0 6,18 1 * ? *)", "2"),
        ("cron(0 9 ? * MON-FRI *)", "21.726190476190476190476190476"),
        ("cron(0 3 1 1/3 ? *)", "0.3333333333333333333333333333"),
    ],
)
def test_how_often_a_schedule_fires(expression: str, runs: str) -> None:
    assert abs(runs_a_month(expression) - D(runs)) < D("1e-20")


def test_an_unreadable_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="neither rate"):
        runs_a_month("at(2026-01-01T00:00:00)")


def test_inventory_counts_what_templates_hold(tmp_path: Path) -> None:
    resources = {
        "f": ("AWS::Lambda::Function", {"FunctionName": "tradewind-dev-save", "MemorySize": 512}),
        "a": ("AWS::CloudWatch::Alarm", {"MetricName": "Errors"}),
        "q": ("AWS::CloudWatch::Alarm", {"Metrics": [{}]}),
        "e": ("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]}),
        "g": ("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"}),
        "c": ("AWS::RDS::DBCluster", {"ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5}}),
        "s": (
            "AWS::Scheduler::Schedule",
            {
                "Name": "hourly",
                "ScheduleExpression": "rate(1 hour)",
                "Target": {
                    "Arn": {
                        "Fn::Join": ["", ["arn:", {"Ref": "x"}, ":function:tradewind-dev-ingress-fan-out"]]
                    },
                    "Input": '{"task": "save"}',
                },
            },
        ),
    }
    template = {
        "Resources": {name: {"Type": kind, "Properties": own} for name, (kind, own) in resources.items()}
    }
    (tmp_path / "one.template.json").write_text(json.dumps(template))
    found = take_inventory(read_templates(tmp_path), "tradewind-dev-")
    assert found.memory_mb == {"save": 512}
    assert found.clocks == [Clock("hourly", D(730), "ingress-fan-out", "save")]
    assert (found.alarms, found.query_alarms, found.endpoint_zones, found.database_min_acu) == (
        1,
        1,
        2,
        D("0.5"),
    )


def test_a_folder_without_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no templates"):
        read_templates(tmp_path)


def test_the_report_adds_up_without_the_database() -> None:
    lines = [
        Line(Section.ORDERS, "work", D(10), "requests", D("20.10")),
        Line(Section.ORDERS_NETWORK, "NAT", D(1), "GB", D("0.20")),
        Line(Section.IDLE, "key", D(1), "keys", D("1.10")),
        Line(Section.IDLE_DATABASE, "Aurora", D(1), "ACU-hours", D("43.80")),
    ]
    told = json.loads(as_json(lines, "dev", 3, PRICES))
    assert (told["usd_per_million_orders"], told["usd_per_idle_month"]) == ("20.300000", "1.100000")
    assert total(lines, Section.IDLE_DATABASE) == D("43.80")
    assert "this is within." in table(lines, "dev", 3, PRICES)
    dear = [*lines, Line(Section.ORDERS, "logs", D(1), "GB", D(10))]
    assert "this is 5.30 above." in table(dear, "dev", 3, PRICES)


def test_measurements_are_of_steps_that_exist() -> None:
    sources = {key.rsplit("@", 1)[1] for key in load_measured().work}
    assert sources == {"webhook", "workflow", "event", "schedule", "page"}
    assumed = {name for name in Traffic.model_fields if name not in ("notes", "provider")}
    assert {name for name in load_traffic().notes if name not in assumed} == set()
