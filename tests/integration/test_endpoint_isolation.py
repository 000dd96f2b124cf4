"""Every endpoint, as one tenant with another's keys, ids, shop and secret: routes come from the API's own description,
the receiver's route table and the table of an operator's actions.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from infra.local.postgres import DatabaseUrls
from ingress.admin import ACTIONS
from tests.databases import Databases
from tests.integration.belongings import LATELY, MADE, belonging
from tests.integration.door import OTHER_SECRET, SECRET, Door
from tests.integration.office import MANIFEST, OPERATIONS, Office, body_for
from tests.integration.twins import own_texts
from tests.integration.world import OURS, THEIRS, Table, World
from tradewind.errors import TradewindError
from tradewind.tenancy.database import QueryError


@pytest.fixture
def office(filled_databases: Databases, filled: tuple[str, Mapping[str, Table]]) -> Iterator[Office]:
    name, urls = filled_databases.take()
    built = Office(World(urls, tables=dict(filled[1])))
    yield built
    built.connections.close()
    filled_databases.give_back(name)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_request_with_anothers_ids_is_the_callers_own(office: Office, operation: str) -> None:
    world, body = office.world, body_for(operation, THEIRS)
    status, theirs = office.ask(operation, "bolt", body, UUID(int=MADE + THEIRS))
    assert status in {200, 202}
    before, sent = world.fingerprint(world.bolt), len(office.queues.sent)
    status, ours = office.ask(operation, "acme", body, UUID(int=MADE + THEIRS))
    assert world.fingerprint(world.bolt) == before
    assert status == (404 if "/runs/{id}" in operation else 200 if "openapi" in operation else 202)
    assert str(world.bolt) not in ours
    assert own_texts(THEIRS) not in ours
    runs = [set(re.findall(r'"run_id": ?"([0-9a-f-]+)"', text)) for text in (theirs, ours)]
    assert runs[0] & runs[1] == set()
    assert json.loads(ours).get("duplicate") is not True
    messages = [json.loads(entry.body)["tenant_id"] for entry in office.queues.sent[sent:]]
    assert set(messages) <= {str(world.acme)}
    for run_id in runs[0]:
        assert office.ask("GET /runs/{id}", "acme", {}, run_id)[0] == 404
        assert office.ask("GET /runs/{id}", "bolt", {}, run_id)[0] == 200


def request_of(action: str) -> type[BaseModel]:
    """The model by which an operator's action checks its fields."""
    function = ACTIONS[action]
    module = sys.modules[function.__module__]
    [name] = re.findall(r"(\w+)\.model_validate\(fields\)", inspect.getsource(function))
    model: type[BaseModel] = getattr(module, name)
    assert issubclass(model, BaseModel)
    return model


TENANT_FIELDS = {"tenant", "slug", "confirm"}
NAMED = sorted(action for action in ACTIONS if TENANT_FIELDS & set(request_of(action).model_fields))


@pytest.mark.parametrize("action", NAMED)
def test_operators_action_for_one_tenant_leaves_another_alone(office: Office, action: str) -> None:
    """Whatever else of the other's is named with it."""
    world, model = office.world, request_of(action)
    before = world.fingerprint(world.bolt)
    named = dict.fromkeys(TENANT_FIELDS & set(model.model_fields), f"t-{OURS}")
    whole = {**belonging(model, "request", THEIRS), **named}
    whole = {**whole, **({"scopes": ["runs:read"]} if "scopes" in whole else {})}
    needed = {field: value for field, value in whole.items() if model.model_fields[field].is_required()}
    for fields in (whole, {**needed, **named}):
        try:
            told = json.dumps(
                ACTIONS[action](office.platform, json.loads(json.dumps(fields, default=str))), default=str
            )
        except (TradewindError, QueryError, ValueError) as error:
            told = repr(error)
        assert world.fingerprint(world.bolt) == before
        assert str(world.bolt) not in told
        assert own_texts(THEIRS) not in told


@pytest.fixture
def door(database: DatabaseUrls) -> Iterator[Door]:
    built = Door(database)
    yield built
    built.connections.close()


@pytest.mark.parametrize("topic", sorted(MANIFEST.routes["resend"]))
def test_webhook_of_a_tenants_own_mail_account_is_its_own_whatever_it_names(door: Door, topic: str) -> None:
    acme, bolt, world = door.tenants["acme"], door.tenants["bolt"], World(door.urls)
    ours, theirs = "whsec_" + "YWNtZQ==", "whsec_" + "Ym9sdA=="
    door.store_resend_secret(acme, ours)
    door.store_resend_secret(bolt, theirs)
    tags = {"tenant": str(bolt), "order": str(THEIRS), "sequence": "1"}
    body = {"type": topic, "created_at": LATELY.isoformat(), "data": {"email_id": "e", "tags": tags}}
    before = world.fingerprint(bolt)
    assert [door.post_resend(body, ours, app=app)[0] for app in ("bolt", None)] == [401, 401]
    assert (door.queues.sent, world.fingerprint(bolt)) == ([], before)
    assert door.post_resend(body, ours, app="acme")[0] == 200
    assert {json.loads(entry.body)["tenant_id"] for entry in door.queues.sent} == {str(acme)}
    assert world.fingerprint(bolt) == before


TOPICS = sorted((provider, topic) for provider in ("shopify",) for topic in MANIFEST.routes[provider])


def test_every_provider_with_topics_is_played() -> None:
    assert set(MANIFEST.routes) == {"shopify", "resend"}


@pytest.mark.parametrize(("provider", "topic"), TOPICS)
def test_webhook_of_a_shop_is_its_tenants_whatever_it_names(door: Door, provider: str, topic: str) -> None:
    bolt, world = door.tenants["bolt"], World(door.urls)
    body = {
        "id": THEIRS,
        "order_id": THEIRS,
        "shop_domain": "bolt.myshopify.com",
        "myshopify_domain": "bolt.myshopify.com",
        "tenant_id": str(bolt),
        "updated_at": LATELY.isoformat(),
    }
    about: dict[str, Any] = {
        "provider": provider,
        "topic": topic,
        "webhook_id": "the-same",
        "x_shopify_event_id": "e",
    }
    status, first = door.post(body, shop="bolt.myshopify.com", secret=OTHER_SECRET, **about)
    assert status == 200
    before, sent = world.fingerprint(bolt), len(door.queues.sent)
    assert sent > 0
    forged = (("bolt.myshopify.com", SECRET), ("acme.myshopify.com", OTHER_SECRET))
    assert [door.post(body, shop=shop, secret=secret, **about)[0] for shop, secret in forged] == [401, 401]
    assert len(door.queues.sent) == sent
    status, answer = door.post(body, **about)
    assert (status, answer) == (200, first)
    assert world.fingerprint(bolt) == before
    ours = door.queues.sent[sent:]
    assert len(ours) == sent
    assert {json.loads(entry.body)["tenant_id"] for entry in ours} == {str(door.tenants["acme"])}
    assert {entry.group.split("#")[0] for entry in ours} == {str(door.tenants["acme"])}
