"""What the deployed functions say when they are asked: dependencies, credentials, migrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.doctor.finding import Finding, failed, fine, warned
from infra.operate import OperateError, Stage

REMEDIES = {
    "postgres": "look at the database and at the function's subnets and security group",
    "valkey": "look at the cache and at the function's security group; until then provider calls wait",
    "key": "look at the KMS key's state, its policy and the function's grants",
}
REACH = "look at the way out (NAT, or locally the sandbox) and at the shop's domain"


def look_inside(stage: Stage) -> Iterator[Finding]:
    try:
        answer = stage.invoke("ingress-admin", {"action": "check"})
    except OperateError as error:
        yield failed("inside", str(error), "deploy the ingress stack; its log group says more")
        return
    yield from read_checks(answer)
    try:
        yield read_migrations(stage.invoke("ingress-migrate", {"check": True}))
    except OperateError as error:
        yield failed("migrations", str(error), "the migrate function's log group says more")


def read_checks(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """The admin function's ``check``, finding by finding."""
    for each in answer["checks"]:
        remedy = REMEDIES.get(each["name"], REACH)
        yield (
            fine(each["name"], each["detail"]) if each["ok"] else failed(each["name"], each["detail"], remedy)
        )
    tenants: Mapping[str, Mapping[str, list[str]]] = answer["credentials"]
    broken = {slug: found["failed"] for slug, found in tenants.items() if found["failed"]}
    for slug, names in broken.items():
        yield failed(
            f"tenant {slug}",
            f"cannot be decrypted: {', '.join(names)}",
            "store them again: make credentials TENANT=... PROVIDER=...",
        )
    without = [slug for slug, found in tenants.items() if not found["opened"] and not found["failed"]]
    if without:
        yield warned(
            "tenants", f"without any secret: {', '.join(without[:10])}", "register them again: make tenant"
        )
    secrets = sum(len(found["opened"]) for found in tenants.values())
    if not broken:
        yield fine("secrets", f"{secrets} open, of {len(tenants)} tenants")


def read_migrations(answer: Mapping[str, Any]) -> Finding:
    """The migrate function's ``check``."""
    if answer["missing"]:
        return failed(
            "migrations",
            f"not applied: {', '.join(answer['missing'])}",
            "deploy: migrations run before the features",
        )
    if answer["unknown"]:
        return warned(
            "migrations",
            f"applied, but not of this release: {', '.join(answer['unknown'])}",
            "a newer release was deployed here before",
        )
    return fine("migrations", f"all {len(answer['known'])} applied, up to {answer['known'][-1]}")
