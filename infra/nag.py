"""Findings of cdk-nag that are meant to be, each with its reason. The infra tests hold both ways: every
finding has an exception, and every exception still has a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """``rule`` and ``path`` are regular expressions that match a whole rule id and a whole construct path."""

    rule: str
    path: str
    reason: str

    def covers(self, rule: str, path: str) -> bool:
        return bool(re.fullmatch(self.rule, rule) and re.fullmatch(self.path, path))


def _wildcard(resource: str) -> str:
    return rf"AwsSolutions-IAM5\[Resource::{resource}\]"


ACCEPTED = (
    Accepted(
        _wildcard(r"arn:.*:log-group:/aws/lambda/tradewind-[a-z-]+:\*"),
        r".*/role",
        "the star stands for the log streams of the function's own log group, whose names Lambda chooses",
    ),
    Accepted(
        _wildcard(r"\*"),
        r".*/[a-z-]+(-function)?/role",
        "network interfaces of a function in a VPC have no name beforehand; a second statement denies the same "
        "actions to the function's own code",
    ),
    Accepted(
        _wildcard(r"\*"),
        r".*-machine/role",
        "log delivery, through which Step Functions writes its logs, knows no resources",
    ),
    Accepted(
        _wildcard(r"arn:.*:tradewind-[a-z]+-\*\.fifo"),
        r"tradewind-[a-z]+-ingress/(receiver|intake|api|fan-out|relay|admin)/role",
        "these send to every task's queue, and which tasks there are is decided by features that deploy later",
    ),
    Accepted(
        _wildcard(r"arn:.*:s3:::tradewind-.*/tenants/(.+/)?\*"),
        r".*/role",
        "the star stands for the objects below the one prefix that claim checks use",
    ),
    Accepted(
        _wildcard(r"arn:.*:lambda:.*:function:tradewind-[a-z]+-\*"),
        r"tradewind-[a-z]+-operations/run-task-machine/role",
        "run-task runs the task that its input names, so every function of the stage and nothing else",
    ),
    Accepted(
        r"AwsSolutions-L1",
        r".*/function",
        "the runtime is the minor version that built and tested the code, by decision and not by date",
    ),
    Accepted(
        r"AwsSolutions-APIG4",
        r".*/http-api/receiver-route-\d",
        "providers sign their webhooks; the receiver verifies the signature before it reads a byte of the body",
    ),
    Accepted(
        r"AwsSolutions-APIG4",
        r".*/http-api/api-route-[1-4]",
        "the function looks the tenant's API key up before it reads the body; the document is public; what lies "
        "below /platform is authorized by IAM",
    ),
    Accepted(
        r"AwsSolutions-APIG4",
        r".*/http-api/(experiments-route-[1-3]|collect-route-1)",
        "pages of storefronts call it, in which nothing is secret; its key opens this door alone and is limited",
    ),
    Accepted(
        r"AwsSolutions-APIG4",
        r".*/http-api/unsubscribe-route-[1-2]",
        "whoever got an e-mail may leave without logging in; the function checks the link's signature first",
    ),
    Accepted(
        r"AwsSolutions-SF2",
        r".*-machine/machine",
        "the run ledger and the correlation id show each step; X-Ray would cost more than the machine",
    ),
    Accepted(
        r"AwsSolutions-SQS3",
        r"tradewind-[a-z]+-data/[a-z]+-dead/queue",
        "it is itself a queue of dead letters; behind it stands an alarm",
    ),
    Accepted(
        r"AwsSolutions-S1",
        r"tradewind-[a-z]+-data/payloads",
        "objects are claim checks of a queue, read by a function whose log says so, gone after 30 days",
    ),
    Accepted(
        r"AwsSolutions-SMG4",
        r"tradewind-[a-z]+-data/database/[a-z]+-secret",
        "passwords are set from their secrets at each deployment; a rotation by clock between two deployments "
        "would shut every function out",
    ),
)


def findings(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(rule, construct path) of every finding of a validation report's AwsSolutions part, sorted."""
    found = {
        (violation["ruleName"], construct["constructPath"])
        for plugin in report["pluginReports"]
        if plugin["pluginName"] == "AwsSolutions"
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    }
    return sorted(found)


def unexplained(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Findings without an exception."""
    return [(rule, path) for rule, path in found if not any(each.covers(rule, path) for each in ACCEPTED)]


def unused(found: Iterable[tuple[str, str]]) -> list[Accepted]:
    """Exceptions without a finding."""
    every = list(found)
    return [each for each in ACCEPTED if not any(each.covers(rule, path) for rule, path in every)]
