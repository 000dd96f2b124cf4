"""The CloudWatch dashboard: is work done in time, what fails, what waits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aws_cdk import Aws

from infra.names import Names, machine_arn

WIDTH, HEIGHT = 12, 6
NAMESPACE = "Tradewind"
TOLD = f'{{{NAMESPACE},destination,outcome}} MetricName="AdEvent"'
UNLIKE = f'{{{NAMESPACE},destination}} MetricName="AdEventDifference"'
LATENCY = f'{{{NAMESPACE},task}} MetricName="WebhookToDone"'


def dashboard_body(names: Names, domains: Sequence[str]) -> str:
    """The dashboard's JSON. Its searches find every function and queue of the stage, also later ones."""
    prefix = names.of("")
    queues = f'{{AWS/SQS,QueueName}} QueueName="{prefix}" MetricName='
    functions = f'{{AWS/Lambda,FunctionName}} FunctionName="{prefix}" MetricName='
    graphs = [
        ("Webhook to done by task, p50 (ms)", [_search(LATENCY, "p50")]),
        ("Webhook to done by task, p99 (ms)", [_search(LATENCY, "p99")]),
        ("Dead letters", [_search(f'Namespace="{NAMESPACE}" MetricName="DeadLetter"', "Sum")]),
        ("Oldest message (s)", [_search(f"{queues}ApproximateAgeOfOldestMessage", "Maximum")]),
        ("Messages waiting", [_search(f"{queues}ApproximateNumberOfMessagesVisible", "Maximum")]),
        ("Function errors", [_search(f"{functions}Errors", "Sum")]),
        ("Function concurrency", [_search(f"{functions}ConcurrentExecutions", "Maximum")]),
        ("Receiver (ms)", _receiver(names)),
        ("Webhook API", _api(names)),
        ("A/B door (ms) and events not counted", _experiments(names)),
        ("E-mail: accounts that refuse, recipients that leave", _email()),
        ("Ad platforms: events by outcome", [_search(TOLD, "Sum")]),
        ("Ad platforms: differing purchases", [_search(UNLIKE, "Sum")]),
        ("Catalogue: low stock, new customers, incomplete full loads", _catalogue()),
        ("Attribution: webhooks given up, files and rows", _attribution()),
        ("Model training: executions, longest (ms), ends", _training(names)),
        ("Database connections and capacity", _database(names)),
        ("Dead-letter queues", _dead_letter_queues(names, domains)),
    ]
    widgets = [_graph(at, title, metrics) for at, (title, metrics) in enumerate(graphs)]
    return json.dumps({"widgets": widgets})


def _graph(at: int, title: str, metrics: list[Any]) -> dict[str, Any]:
    return {
        "type": "metric",
        "x": (at % 2) * WIDTH,
        "y": (at // 2) * HEIGHT,
        "width": WIDTH,
        "height": HEIGHT,
        "properties": {
            "title": title,
            "view": "timeSeries",
            "region": Aws.REGION,
            "period": 60,
            "metrics": metrics,
        },
    }


def _search(query: str, statistic: str) -> list[Any]:
    return [{"expression": f"SEARCH('{query}', '{statistic}', 60)"}]


def _receiver(names: Names) -> list[Any]:
    function = names.function("ingress-receiver")
    return [
        ["AWS/Lambda", "Duration", "FunctionName", function, {"stat": statistic}]
        for statistic in ("p50", "p99")
    ] + [["AWS/Lambda", "Throttles", "FunctionName", function, {"stat": "Sum"}]]


def _api(names: Names) -> list[Any]:
    return [
        ["AWS/Lambda", "Invocations", "FunctionName", names.function("ingress-receiver"), {"stat": "Sum"}],
        _search("{AWS/ApiGateway,ApiId} MetricName=5xx", "Sum"),
        _search("{AWS/ApiGateway,ApiId} MetricName=4xx", "Sum"),
    ]


def _experiments(names: Names) -> list[Any]:
    function = names.function("ingress-experiments")
    return [
        *(["AWS/Lambda", "Duration", "FunctionName", function, {"stat": each}] for each in ("p50", "p99")),
        ["AWS/Lambda", "Throttles", "FunctionName", function, {"stat": "Sum"}],
        _search(f'Namespace="{NAMESPACE}" MetricName="AbEventsNotCounted"', "Sum"),
        _search(f'Namespace="{NAMESPACE}" MetricName="AbRequestNotKept"', "Sum"),
    ]


def _email() -> list[Any]:
    return [
        [NAMESPACE, "EmailSendingPaused", "provider", "resend", {"stat": "Sum"}],
        [NAMESPACE, "Unsubscribed", {"stat": "Sum"}],
    ]


def _attribution() -> list[Any]:
    return [
        [NAMESPACE, "WebhookDead", {"stat": "Sum"}],
        [NAMESPACE, "WebhookDisabled", {"stat": "Sum"}],
        [NAMESPACE, "ExportRows", {"stat": "Sum"}],
        [NAMESPACE, "ConversionsRecalculated", {"stat": "Sum"}],
    ]


def _catalogue() -> list[Any]:
    return [
        [NAMESPACE, "InventoryLow", {"stat": "Sum"}],
        [NAMESPACE, "CustomerCreated", {"stat": "Sum"}],
        _search(f'Namespace="{NAMESPACE}" MetricName="FullLoadIncomplete"', "Sum")[0],
    ]


def _training(names: Names) -> list[Any]:
    machine = machine_arn(names.machine("ml-training"))
    return [
        *(
            ["AWS/States", metric, "StateMachineArn", machine, {"stat": "Sum"}]
            for metric in ("ExecutionsStarted", "ExecutionsFailed", "ExecutionsTimedOut")
        ),
        ["AWS/States", "ExecutionTime", "StateMachineArn", machine, {"stat": "Maximum", "yAxis": "right"}],
        _search(f'Namespace="{NAMESPACE}" MetricName="TrainingEnded"', "Sum")[0],
    ]


def _database(names: Names) -> list[Any]:
    cluster = names.of("database")
    return [
        ["AWS/RDS", "DatabaseConnections", "DBClusterIdentifier", cluster, {"stat": "Maximum"}],
        [
            "AWS/RDS",
            "ServerlessDatabaseCapacity",
            "DBClusterIdentifier",
            cluster,
            {"stat": "Maximum", "yAxis": "right"},
        ],
    ]


def _dead_letter_queues(names: Names, domains: Sequence[str]) -> list[Any]:
    queues = [*(names.dead_letters(domain) for domain in domains), names.schedule_dead_letters]
    queues.append(names.intake_dead_letters)
    return [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, {"stat": "Maximum"}]
        for queue in queues
    ]
