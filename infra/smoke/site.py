"""A stage from outside: its functions, its API with a key of the tenant's, its run-task machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from infra.operate import OperateError, Stage, find_stage
from infra.smoke.seen import SmokeError
from tradewind.tasks.message import message_key, run_id_of

PATIENCE_S = 90.0
POLL_S = 0.1
SCOPES = ("events:publish", "tasks:run", "runs:read")
Found = TypeVar("Found")


@dataclass(slots=True)
class Site:
    """One tenant of a stage."""

    stage: Stage
    base_url: str
    tenant: str
    tenant_id: UUID
    token: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=15))

    def publish(self, kind: str, body: Mapping[str, Any]) -> dict[str, str]:
        """Publish an event; run ids by task."""
        return {each["task"]: each["run_id"] for each in self._post(f"/events/{kind}", body)["runs"]}

    def start(self, task: str, body: Mapping[str, Any]) -> str:
        """Start a task over the API; its run's id."""
        return str(self._post(f"/tasks/{task}/runs", body)["run_id"])

    def invoke(self, task: str, body: Mapping[str, Any]) -> str:
        """Invoke a task's function; its run's id."""
        cause = f"smoke:{uuid4()}"
        self.stage.invoke(task, {"tenant": self.tenant, "payload": body, "cause": cause})
        return self.run_id(task, cause)

    def execute(self, task: str, body: Mapping[str, Any]) -> str:
        """Run a task by the run-task machine; its run's id."""
        name = f"smoke-{uuid4()}"
        self.stage.execute("run-task", {"task": task, "tenant": self.tenant, "payload": body}, name)
        return self.run_id(task, name)

    def run_id(self, *key: str) -> str:
        return str(run_id_of(message_key(self.tenant_id, *key)))

    def ended(self, run_id: str) -> dict[str, Any]:
        """The run once it has ended well. Raises SmokeError."""

        def look() -> dict[str, Any] | None:
            answer = self.http.get(f"{self.base_url}/runs/{run_id}", headers=self._headers())
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.status_code != httpx.codes.OK:
                raise SmokeError(f"GET /runs/{run_id} answers {answer.status_code}: {answer.text[:200]}")
            run: dict[str, Any] = answer.json()
            return run if run["state"] in {"succeeded", "failed"} else None

        run = wait_for(f"the end of run {run_id}", look)
        if run["state"] == "failed":
            last = run["attempts"][-1] if run["attempts"] else {}
            raise SmokeError(f"{run['task']} failed: {last.get('error_class')}: {last.get('message')}")
        return run

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = self._headers() | {"Idempotency-Key": f"smoke-{uuid4()}"}
        answer = self.http.post(f"{self.base_url}{path}", json=body, headers=headers)
        if answer.status_code != httpx.codes.ACCEPTED:
            raise SmokeError(f"POST {path} answers {answer.status_code}: {answer.text[:200]}")
        accepted: dict[str, Any] = answer.json()
        return accepted

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def wait_for(what: str, look: Callable[[], Found | None]) -> Found:
    """Ask until there is an answer. Raises SmokeError."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise SmokeError(f"no sign of {what} within {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    return found


@contextmanager
def site_of(tenant: str) -> Iterator[Site]:
    """The present stage with a key for this one time. Raises OperateError and SmokeError."""
    stage = find_stage()
    listed = stage.invoke("ingress-admin", {"action": "list-tenants"})["tenants"]
    ids = {each["slug"]: UUID(each["tenant_id"]) for each in listed}
    if tenant not in ids:
        raise SmokeError(f"stage {stage.name} has no tenant {tenant!r}")
    asked = {"action": "create-api-key", "tenant": tenant, "name": "smoke", "scopes": list(SCOPES)}
    key = stage.invoke("ingress-admin", asked | {"expires_in_days": 1})
    try:
        yield Site(stage, base_url(stage), tenant, ids[tenant], key["token"])
    finally:
        ended = {"action": "revoke-api-key", "tenant": tenant, "key_id": key["key_id"]}
        stage.invoke("ingress-admin", ended)


def base_url(stage: Stage) -> str:
    """Where the stage's API answers: the local cloud's, ``WEBHOOK_URL``, or what the ingress stack says."""
    if stage.webhook_url:
        return stage.webhook_url.rstrip("/")
    name = f"tradewind-{stage.name}-ingress"
    try:
        [stack] = stage.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise OperateError(f"the API's address is not known ({error}); set WEBHOOK_URL") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    return str(outputs["WebhookUrl"]).rstrip("/")
