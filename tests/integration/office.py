"""The platform's API and an operator's hands on a filled world, with a key for each of its tenants."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ingress import api_keys
from ingress.api import Api
from ingress.manifest import load_manifest, load_payload_schemas
from ingress.platform import Platform
from ingress.platform_api.document import describe_api
from tests.conftest import ROOT
from tests.fakes import FakePayloads, FakeQueues
from tests.integration.belongings import payloads
from tests.integration.desk import ROLE
from tests.integration.harness import local_settings
from tests.integration.world import OURS, THEIRS, World
from tradewind.contracts.events import EVENTS
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.registry import discover
from tradewind.tenancy.database import Connections

REGISTRY = discover(ROOT / "functions")
MANIFEST = load_manifest()
ROUTES = {
    r"POST (/platform)?/events/(?P<type>[^/]+)": "POST {}/events/{{type}}",
    r"POST (/platform)?/tasks/(?P<id>[^/]+)/runs": "POST {}/tasks/{{id}}/runs",
    r"GET (/platform)?/runs/(?P<id>[^/]+)": "GET {}/runs/{{id}}",
    r"GET ()/openapi\.json": "GET {}/openapi.json",
}
"""The description's paths -> what API Gateway calls the route."""
OPERATIONS = sorted(
    f"{method.upper()} {path}"
    for path, operations in describe_api(MANIFEST, load_payload_schemas())["paths"].items()
    for method in operations
    if not path.startswith(("/ab/", "/collect", "/unsubscribe/", "/webhooks/"))
)
"""Of this API. The other doors have isolation tests beside their own: ab_door, collect, unsubscribe, receiver."""
NUMBERS = {"acme": OURS, "bolt": THEIRS}


class Office:
    """The API and an operator's hands on a filled world, with a key for each of its tenants."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = local_settings(world.urls, AWS_ENDPOINT_URL="http://127.0.0.1:9")
        self.connections = Connections(world.urls.platform)
        self.queues = FakeQueues()
        dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.platform = Platform(self.settings, self.connections, dispatcher)
        self.api = Api(self.settings, self.connections, dispatcher, FakePayloads(), MANIFEST)
        self.tokens = {who: self.key(number) for who, number in NUMBERS.items()}

    def key(self, number: int) -> str:
        scopes = ["events:publish", "tasks:run", "runs:read"]
        about = {"tenant": f"t-{number}", "name": "all", "scopes": scopes}
        return str(api_keys.create_api_key(self.platform, about)["token"])

    def ask(
        self,
        operation: str,
        who: str,
        body: Mapping[str, Any],
        run_id: object = "",
        *,
        key: str = "the-same-for-both",
    ) -> tuple[int, str]:
        """One request of ``who``, by key or below /platform by IAM, that names the other one in its headers too."""
        [(match, name)] = [
            (m, name) for pattern, name in ROUTES.items() if (m := re.fullmatch(pattern, operation))
        ]
        by_iam = "/platform" in operation
        parameters = {each: run_id if value == "{id}" else value for each, value in match.groupdict().items()}
        tenant = f"t-{NUMBERS[who]}" if by_iam else f"t-{OURS + THEIRS - NUMBERS[who]}"
        answer = self.api.answer(
            {
                "routeKey": name.format(match[1] or ""),
                "pathParameters": {each: str(value) for each, value in parameters.items()},
                "headers": {
                    "content-type": "application/json",
                    "idempotency-key": key,
                    "x-tradewind-tenant": tenant,
                    **({} if by_iam else {"authorization": f"Bearer {self.tokens[who]}"}),
                },
                "body": json.dumps(body),
                "requestContext": {"authorizer": {"iam": {"userArn": ROLE}}} if by_iam else {},
            }
        )
        return answer["statusCode"], answer["body"]


def body_for(operation: str, number: int) -> dict[str, Any]:
    """What belongs to the tenant with ``number``, as this operation takes it."""
    for kind, model in EVENTS.items():
        if f"/events/{kind}" in operation:
            return next(payloads(model, number))
    return next(
        (next(payloads(each.payload, number)) for each in REGISTRY if f"/{each.id}/runs" in operation), {}
    )
