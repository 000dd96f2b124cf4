"""Dashboard and alarms read the metrics that the kernel writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.dashboard import LATENCY, TOLD, UNLIKE
from tradewind.loglines import MILLISECONDS, count_line, metric_fields

from .conftest import Application, readable


def metric(line: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Namespace, name and dimensions of a line in embedded metric format."""
    about = line["_aws"]["CloudWatchMetrics"][0]
    return about["Namespace"], about["Metrics"][0]["Name"], sorted(about["Dimensions"][0])


def test_the_latency_graph_searches_the_dimensions_that_the_kernel_writes() -> None:
    line = metric_fields("WebhookToDone", 31_000, MILLISECONDS, task="commerce-sync-order")
    namespace, name, dimensions = metric(line)
    assert f'{{{namespace},{",".join(dimensions)}}} MetricName="{name}"' == LATENCY
    assert line["WebhookToDone"] == 31_000


def test_the_graphs_of_ad_platforms_search_what_the_tasks_write() -> None:
    told = metric_fields("AdEvent", 1, destination="meta", outcome="acknowledged")
    unlike = metric_fields("AdEventDifference", 2, destination="meta")
    for line, searched in ((told, TOLD), (unlike, UNLIKE)):
        namespace, name, dimensions = metric(line)
        assert f'{{{namespace},{",".join(dimensions)}}} MetricName="{name}"' == searched


def test_the_alarms_query_the_kernels_metrics_whatever_their_dimensions(
    prod: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    count_line("DeadLetter", task="commerce-sync-order")
    namespace, name, _ = metric(json.loads(capsys.readouterr().out))
    queries = {
        alarm["AlarmName"]: alarm["Metrics"][0]["Expression"]
        for alarm in prod.of_type("AWS::CloudWatch::Alarm")
        if "Metrics" in alarm
    }
    assert queries == {
        "tradewind-prod-ad-events-differ": f'SELECT SUM(AdEventDifference) FROM "{namespace}"',
        "tradewind-prod-dead-letters": f'SELECT SUM({name}) FROM "{namespace}"',
        "tradewind-prod-full-loads-incomplete": f'SELECT SUM(FullLoadIncomplete) FROM "{namespace}"',
        "tradewind-prod-late-orders": f'SELECT MAX(WebhookToDone) FROM "{namespace}"',
        "tradewind-prod-webhooks-disabled": f'SELECT SUM(WebhookDisabled) FROM "{namespace}"',
    }


def test_the_dashboard_is_json_with_a_place_for_each_graph(prod: Application) -> None:
    body = json.loads(readable(prod.one("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    places = {(widget["x"], widget["y"]) for widget in body["widgets"]}
    assert len(places) == len(body["widgets"]) == 18
    assert all(widget["properties"]["metrics"] for widget in body["widgets"])


def test_only_cloudwatch_publishes_to_the_alarm_topic(prod: Application) -> None:
    (policy,) = prod.of_type("AWS::SNS::TopicPolicy")
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
