"""The platform's API through the gateway: tenants' applications by key, its own services by IAM, and a fuzzer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.cloud import Cloud, Row, Tenant
from tests.e2e.orders import make_order, new_id, recently

INGEST = "analytics-attribution-touchpoint-ingest"
ENDED = {"succeeded", "failed"}


class Client:
    """An application of a tenant's, with a key of its own."""

    def __init__(self, tenant: Tenant, *scopes: str) -> None:
        self.tenant, self.cloud = tenant, tenant.cloud
        asked = {"action": "create-api-key", "tenant": tenant.slug, "name": "e2e", "scopes": list(scopes)}
        self.token: str = self.cloud.invoke("ingress-admin", asked)["token"]

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key or uuid4().hex, **headers}
        return self.cloud.http.post(f"{self.cloud.state.webhook_url}{path}", json=body, headers=sent)

    def get(self, run_id: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}"}
        return self.cloud.http.get(f"{self.cloud.state.webhook_url}/runs/{run_id}", headers=sent)

    def ended(self, run_id: str) -> Row:
        def look() -> Row | None:
            answer = self.get(run_id)
            assert answer.status_code == 200, answer.text
            run: Row = answer.json()
            return run if run["state"] in ENDED else None

        return self.tenant.wait_for(f"the end of run {run_id}", look)


@pytest.fixture
def client(tenant: Tenant) -> Client:
    return Client(tenant, "events:publish", "tasks:run", "runs:read")


def touch(**changes: Any) -> Row:
    moment = recently().isoformat()
    return {"occurred_at": moment, "visitor_id": uuid4().hex, "utm": {"medium": "email"}, **changes}


def test_an_event_is_worked_and_its_run_tells_the_result(client: Client) -> None:
    body = touch()
    answer = client.post("/events/touchpoint.recorded", body, key="visit-1")
    assert answer.status_code == 202, answer.text
    [begun] = answer.json()["runs"]
    run = client.ended(begun["run_id"])
    [stored] = client.tenant.rows("attribution_touchpoints", "visitor_id = %s", body["visitor_id"])
    assert (run["task"], run["state"], run["attempt"]) == (INGEST, "succeeded", 1)
    assert run["result"] == {
        "touchpoint_id": str(stored["touchpoint_id"]), "channel": "email", "stored": True,
    }  # fmt: skip
    again = client.post("/events/touchpoint.recorded", body, key="visit-1")
    assert again.json() == {**answer.json(), "duplicate": True}
    assert client.post("/events/touchpoint.recorded", touch(), key="visit-1").status_code == 409


def test_a_task_is_run_by_key_and_its_failure_is_told(client: Client) -> None:
    order = make_order(new_id(), recently())
    client.tenant.put(order)
    run = client.ended(
        client.post("/tasks/commerce-sync-order/runs", {"order_id": order["id"]}).json()["run_id"]
    )
    assert (run["state"], run["result"]["order_id"], run["result"]["fetched"]) == (
        "succeeded",
        order["id"],
        True,
    )
    assert client.tenant.order(order["id"])["status"] == "open"

    missing = client.post("/tasks/commerce-sync-order/runs", {"order_id": new_id()}).json()["run_id"]
    failed = client.ended(missing)
    assert failed["state"] == "failed"
    assert [attempt["error_class"] for attempt in failed["attempts"]] == ["NotFoundError"]


def test_another_tenants_key_sees_nothing_of_a_run(cloud: Cloud, client: Client) -> None:
    run_id = client.post("/events/touchpoint.recorded", touch()).json()["runs"][0]["run_id"]
    stranger = Client(cloud.register("stranger"), "runs:read")
    assert (client.get(run_id).status_code, stranger.get(run_id).status_code) == (200, 404)
    assert stranger.post("/events/touchpoint.recorded", touch()).status_code == 403


def test_without_a_key_nothing_is_kept(client: Client) -> None:
    answer = client.post("/events/touchpoint.recorded", touch(), Authorization="Bearer twk_none")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert client.tenant.rows("webhook_inbox") == []


@pytest.fixture
def service(cloud: Cloud) -> Iterator[Credentials]:
    """One of the platform's own services: a role that may invoke what lies below /platform."""
    iam, name = cloud.client("iam"), f"service-{uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    allowed = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:*"}
    iam.put_role_policy(
        RoleName=name,
        PolicyName="own",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    given_keys = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="e2e")["Credentials"]
    yield Credentials(given_keys["AccessKeyId"], given_keys["SecretAccessKey"], given_keys["SessionToken"])
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)


def signed(cloud: Cloud, service: Credentials, path: str, body: Row, **headers: str) -> httpx.Response:
    url = f"{cloud.state.webhook_url}{path}"
    request = AWSRequest("POST", url, data=json.dumps(body), headers={
        "Content-Type": "application/json", "Idempotency-Key": uuid4().hex, **headers,
    })  # fmt: skip
    SigV4Auth(service, "execute-api", cloud.state.region).add_auth(request)
    return cloud.http.post(url, content=request.data, headers=dict(request.headers))


def test_the_platforms_own_service_publishes_for_a_tenant(
    cloud: Cloud, tenant: Tenant, service: Credentials
) -> None:
    body = touch()
    path, of_tenant = "/platform/events/touchpoint.recorded", {"X-Tradewind-Tenant": tenant.slug}
    answer = signed(cloud, service, path, body, **of_tenant)
    assert answer.status_code == 202, answer.text
    tenant.wait_for("the touch", lambda: tenant.rows("attribution_touchpoints"))
    [kept] = tenant.rows("webhook_inbox")
    assert "assumed-role" in kept["shop"]
    assert signed(cloud, service, path, body).json()["field"] == "x-tradewind-tenant"


def test_what_is_not_signed_does_not_reach_the_services_door(client: Client) -> None:
    of_tenant = {"X-Tradewind-Tenant": client.tenant.slug}
    answer = client.post("/platform/events/touchpoint.recorded", touch(), **of_tenant)
    assert answer.status_code in {401, 403}
    assert client.tenant.rows("webhook_inbox") == []


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


def fuzz(operation: Any, base: str, token: str, mode: schemathesis.GenerationMode) -> list[int]:
    """Ask ten times; the statuses of the answers."""
    statuses: list[int] = []

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=15)
        statuses.append(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return statuses


@pytest.mark.parametrize(
    ("mode", "expected"), [(MODES[0], 202), (MODES[1], 400)], ids=["possible", "impossible"]
)
def test_no_input_breaks_the_api_and_each_answer_is_as_its_document_says(
    cloud: Cloud, client: Client, mode: schemathesis.GenerationMode, expected: int
) -> None:
    base = cloud.state.webhook_url
    document = cloud.http.get(f"{base}/openapi.json").json()
    loaded = schemathesis.openapi.from_dict(document)
    page = Client(client.tenant, "ab:collect")
    asked: dict[str, list[int]] = {}
    for found in loaded.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.path == "/collect":  # takes another key; its bad input is a table of its own
            continue
        if operation.path.startswith("/platform") or (mode is MODES[1] and operation.path == "/openapi.json"):
            continue
        token = page.token if operation.path.startswith("/ab/") else client.token
        asked.setdefault(operation.path, []).extend(fuzz(operation, base, token, mode))
    posts = {path: statuses for path, statuses in asked.items() if path.startswith(("/tasks", "/events"))}
    assert len(posts) == len([path for path in document["paths"] if path.startswith(("/tasks", "/events"))])
    # An instant of any year is possible by the schema; a touch's must lie in the past.
    wanted = {
        path: statuses for path, statuses in posts.items() if path.startswith("/tasks") or expected == 400
    }
    assert {path: statuses for path, statuses in wanted.items() if expected not in statuses} == {}
    if mode is MODES[0]:
        assert 200 in asked["/ab/assignments"]
        assert set(asked["/unsubscribe/{token}"]) == {404}
        assert set(asked["/webhooks/resend"]) == set(asked["/webhooks/shopify/{app}"]) == {401}
