"""What the doctor makes of the answers it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.doctor.finding import Finding, Verdict, as_table
from infra.doctor.inside import read_checks, read_migrations
from infra.doctor.template import differing, wanted_names

WELL: dict[str, Any] = {
    "checks": [{"name": "postgres", "ok": True, "detail": "PostgreSQL 18"}],
    "credentials": {"acme": {"opened": ["shopify/default/app_secret"], "failed": []}},
}


def verdicts(answer: dict[str, Any]) -> dict[str, str]:
    return {each.what: str(each.verdict) for each in read_checks(answer)}


def test_dependency_that_does_not_answer_has_failed_and_has_a_remedy() -> None:
    answer = {
        **WELL,
        "checks": [{"name": name, "ok": False, "detail": "no"} for name in ("valkey", "shopify x")],
    }
    found = list(read_checks(answer))
    assert [each.verdict for each in found[:2]] == [Verdict.FAILED, Verdict.FAILED]
    assert "cache" in found[0].remedy
    assert "NAT" in found[1].remedy


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        ({"acme": {"opened": ["a"], "failed": []}}, {"secrets": "ok"}),
        ({"acme": {"opened": ["a"], "failed": ["b"]}}, {"tenant acme": "failed"}),
        ({"acme": {"opened": [], "failed": []}}, {"tenants": "warning", "secrets": "ok"}),
        ({}, {"secrets": "ok"}),
    ],
)
def test_tenants_secrets_are_told_by_name(tenants: dict[str, Any], expected: dict[str, str]) -> None:
    assert verdicts({"checks": [], "credentials": tenants}) == expected


@pytest.mark.parametrize(
    ("missing", "unknown", "verdict"),
    [([], [], Verdict.OK), (["0004"], [], Verdict.FAILED), ([], ["0009"], Verdict.WARNING)],
)
def test_migrations_are_compared_by_name(missing: list[str], unknown: list[str], verdict: Verdict) -> None:
    found = read_migrations({"missing": missing, "unknown": unknown, "known": ["0001", "0004"]})
    assert found.verdict is verdict
    assert all(name in found.detail for name in (*missing, *unknown))


def test_difference_is_told_by_stack() -> None:
    text = (
        "Stack tradewind-dev-data\nThere were no differences\n"
        "Stack tradewind-dev-ingress\nResources\n[~] AWS::Lambda::Function api\n"
        "Stack tradewind-dev-network\nThere were no differences\n\nNumber of stacks with differences: 1\n"
    )
    assert differing(text) == ["tradewind-dev-ingress"]
    assert differing("no credentials") == []


def test_names_are_read_from_the_templates(tmp_path: Path) -> None:
    resources = {
        "a": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "f"}},
        "b": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q.fifo"}},
        "c": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "x"}}},
        "d": {"Type": "AWS::S3::Bucket"},
    }
    (tmp_path / "one.template.json").write_text(json.dumps({"Resources": resources}))
    found = wanted_names(tmp_path)
    assert {kind.rsplit("::", 1)[-1]: names for kind, names in found.items()} == {
        "Function": {"f"}, "Queue": {"q.fifo"}, "StateMachine": set(), "Schedule": set(),
    }  # fmt: skip


def test_table_says_what_to_do_and_counts() -> None:
    told = as_table([Finding("python", Verdict.OK, "3.11"), Finding("key", Verdict.FAILED, "no", "look")])
    assert told.splitlines() == [
        "ok       python  3.11",
        "failed   key     no",
        "                 -> look",
        "",
        "1 ok, 0 warning, 1 failed",
    ]
