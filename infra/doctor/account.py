"""The AWS account from outside: who we are there, and what it allows."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from infra.doctor.finding import Finding, failed, fine, warned
from infra.doctor.place import Place


def look_at_account(place: Place) -> Iterator[Finding]:
    """Stops at the first failure: without credentials nothing else answers."""
    settings = place.settings
    yield fine("settings", f"stage {settings.stage}, runtime {settings.runtime}")
    try:
        who = place.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        yield failed("credentials", str(error), "set AWS credentials and AWS_REGION for the stage's account")
        return
    yield fine("credentials", str(who["Arn"]))
    try:
        yield _quota(place)
    except (BotoCoreError, ClientError, KeyError) as error:
        yield warned("concurrency", f"the account's limit cannot be read: {error}", "look in Service Quotas")


def _quota(place: Place) -> Finding:
    limits = place.client("lambda").get_account_settings()["AccountLimit"]
    allowed, expected = int(limits["ConcurrentExecutions"]), place.settings.account_concurrency
    if place.settings.is_local or allowed >= expected:
        return fine("concurrency", f"{allowed} executions at once")
    return warned(
        "concurrency",
        f"the account allows {allowed}, the stage expects {expected}",
        "raise the quota 'Concurrent executions', or lower account_concurrency in infra/settings.py",
    )
