"""Values that belong to a tenant, made from type hints: ids are the tenant's number, texts and addresses carry it."""

from __future__ import annotations

import collections.abc
import dataclasses
import hashlib
import os
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, SecretStr

from analytics.attribution.payloads import OrdersAgain, Range
from analytics.attribution_exports.payloads import ExportConfig
from analytics.attribution_webhooks.payloads import WebhookSubscription
from analytics.ml_training.payloads import MixRequest
from analytics.profit_and_loss.payloads import Booking, ConfigSave, CostImport
from analytics.profit_and_loss.statement import Rules
from tradewind.contracts.ab_tests import AbTestCreated
from tradewind.contracts.touchpoints import VisitorIdentified

LATELY = datetime.now(UTC).replace(microsecond=0)
"""An instant that every task takes for a change of just now."""
MADE = 1000
"""What a world adds to a tenant's number where an id is a UUID."""
_CONTACTS = {"email": "ann-{}@example.com", "phone": "+1555000{}"}

_NAMED: Mapping[str, Any] = {
    "currency": lambda _: "USD",
    "channel": lambda _: "paid",
    "credits_copy": lambda _: [],
    "read": lambda _: lambda _lines, _fields: b"",
    "into": lambda _: Path(os.devnull),
    "columns": lambda _: ("revenue_cents",),
    "table": lambda _: "task_run",
    "key": lambda number: {"run_id": str(UUID(int=MADE + number))},
    "content": lambda number: {"result": {"note": f"text-{number}"}},
    "after": lambda _: None,
    "epsilon": lambda _: 0.5,
    "by": lambda _: Rules(),
    "document": lambda _: {},
    "parts": lambda _: (),
    "saved_after": lambda _: LATELY + timedelta(days=900),
    "last_day": lambda _: LATELY.date() - timedelta(days=2),
    "week_on": lambda _: LATELY.date() - timedelta(days=14 + LATELY.weekday()),
}
"""What a name alone says: a document's table, its key and its content, and where a list begins."""
WHOLE: Mapping[type[BaseModel], Any] = {
    AbTestCreated: lambda number: {
        "test_id": f"text-{number}",
        "name": f"text-{number}",
        "variants": [
            {"variant_id": f"text-{number}", "name": f"text-{number}", "is_control": True},
            {"variant_id": f"other-{number}", "name": f"text-{number}"},
        ],
    },
    Range: lambda _: {"days": 3},
    MixRequest: lambda _: {"days": 60},
    WebhookSubscription: lambda number: {
        "name": f"text-{number}",
        "url": f"https://shop-{number}.example.com",
    },
    ExportConfig: lambda number: {
        "name": f"text-{number}",
        "destination": {"kind": "webhook", "url": f"https://shop-{number}.example.com/in"},
    },
    OrdersAgain: lambda number: {"order_id": number},
    VisitorIdentified: lambda number: {
        "visitor_id": f"text-{number}",
        "email_sha256": hashlib.sha256(f"ann-{number}@example.com".encode()).hexdigest(),
    },
    Booking: lambda number: {
        "categories": [{"category": f"own_{number}", "label": "Own", "type": "operating"}],
        "expenses": [
            {"expense_id": f"e{number}", "category": "rent", "amount_cents": 1, "incurred_on": "2026-10-12"}
        ],
    },
    CostImport: lambda number: {"rows": f"product_id,unit_cost\n{number},1.00\n"},
    ConfigSave: lambda number: {
        "kind": "costs",
        "document": {"fulfilment": {"packaging_cents": number}},
        "changed_by": "somebody",
    },
}
"""Payloads whose fields depend on each other."""
_BOUNDS = {"window", "most"}
"""How many of a tenant's own rows are taken, whatever else is asked for."""


def contact(name: str, number: int) -> str | None:
    """A tenant's customer's address of this kind, None where ``name`` is of no kind."""
    found = next((text for kind, text in _CONTACTS.items() if name.endswith(kind)), None)
    return None if found is None else found.format(number)


def belonging(hint: Any, name: str, number: int) -> Any:  # noqa: C901, PLR0911 - a line for each kind of type
    """A value of this type, as the tenant with ``number`` would have it. Raises TypeError for a type it cannot make."""
    if name in _NAMED:
        return _NAMED[name](number)
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return inner[0]
    if origin in (Union, types.UnionType):
        return belonging(next(each for each in inner if each is not type(None)), name, number)
    if origin in (dict, collections.abc.Mapping):
        return {belonging(inner[0], "name", number): belonging(inner[1], name, number)}
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(belonging(each, name, number) for each in inner)
    if origin in _COLLECTIONS:
        return _COLLECTIONS[origin]([belonging(inner[0], name, number)])
    if not isinstance(hint, type):
        return _cannot(hint, name)
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{f.name: belonging(hints[f.name], f.name, number) for f in dataclasses.fields(hint)})
    if issubclass(hint, BaseModel):
        if hint in WHOLE:
            return WHOLE[hint](number)
        return {
            field: belonging(about.annotation, field, number) for field, about in hint.model_fields.items()
        }
    if issubclass(hint, Enum):
        return next(iter(hint))
    return plain(hint, name, number)


_COLLECTIONS: Mapping[Any, Any] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
}


def plain(kind: type, name: str, number: int) -> Any:
    values: dict[Any, Any] = {
        bool: False,
        int: 0 if name in _BOUNDS else number,
        float: float(number),
        str: contact(name, number) or f"text-{number}",
        bytes: b"",
        SecretStr: f"text-{number}",
        Any: f"text-{number}",
        UUID: UUID(int=MADE + number),
        date: LATELY.date(),
        Decimal: Decimal(number),
        datetime: LATELY,
        AwareDatetime: LATELY,
        timedelta: timedelta(days=30),
        Fraction: Fraction(1),
    }
    return values[kind] if kind in values else _cannot(kind, name)


def _cannot(hint: Any, name: str) -> Any:
    raise TypeError(f"{name}: no value is known for {hint!r}")


def _bare(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def payloads(model: type[BaseModel], number: int) -> Iterator[dict[str, Any]]:
    """JSON payloads of a model: with every field, once for each value that a field chooses from, and with none but the
    required ones.
    """
    whole = belonging(model, "payload", number)
    if model in WHOLE:
        yield whole
        return
    choices = {name: _choices(about.annotation) for name, about in model.model_fields.items()}
    named = {name: values for name, values in choices.items() if values}
    for chosen in product(*named.values()):
        yield _json({**whole, **dict(zip(named, chosen, strict=True))})
    required = {name: value for name, value in whole.items() if model.model_fields[name].is_required()}
    if required != whole:
        yield _json(required)


def _choices(hint: Any) -> list[Any]:
    hint = _bare(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return [value for each in get_args(hint) for value in _choices(each)]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return list(hint) if isinstance(hint, type) and issubclass(hint, Enum) else []


def _json(value: Any) -> Any:
    match value:
        case dict():
            return {name: _json(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_json(each) for each in value]
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value
