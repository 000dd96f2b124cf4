"""Trainings on a real Postgres: what is read, what is registered and used, and what becomes of interrupted ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from analytics.ml_training.model import AT_ONCE
from analytics.ml_training.tasks import attribution_ml_training
from tests.fakes import FakePayloads
from tests.integration.classroom import UNTIL, Bell, Classroom
from tests.integration.harness import House
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.tasks.container import InterruptedWorkError
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done
from tradewind.tenancy.database import FenceLostError

WEIGHTS = "SELECT channel, weight, conversions FROM attribution_weights ORDER BY channel"
MODELS = "SELECT version, algorithm, used, reason, samples, conversions FROM ml_models ORDER BY version"
TRAININGS = "SELECT state, reason, attempt FROM ml_trainings ORDER BY requested_at"


@pytest.fixture
def room(house: House) -> Classroom:
    return Classroom(house)


def test_training_learns_registers_and_its_weights_divide_the_next_credits(room: Classroom) -> None:
    room.fill(3000)
    told = room.train(room.ask())
    assert (told["state"], told["used"], told["reason"], told["version"]) == ("succeeded", True, None, 1)
    assert told["samples"] == 3000
    assert told["log_loss"] < told["base"]
    weights = {row["channel"]: row["weight"] for row in room.house.query(WEIGHTS)}
    assert sum(weights.values()) == pytest.approx(1)
    assert sorted(weights, key=weights.__getitem__)[-2:] == ["email", "paid"]
    [model] = room.house.query("SELECT * FROM ml_models")
    assert model["weights"] == pytest.approx(weights)
    assert model["metrics"]["journeys"] == {"train": 1920, "validation": 480, "held_out": 600}
    assert model["metrics"]["tuned"]["half_life_days"] in {1, 3, 7, 14, 30}
    assert room.store.kept == {}
    assert room.house.query("SELECT 1 AS x FROM attribution_results WHERE model = 'data_driven'") == []
    room.credit()
    [row] = room.house.query(
        "SELECT count(DISTINCT shopify_order_id)::int AS orders FROM attribution_results"
        " WHERE model = 'data_driven'"
    )
    assert row["orders"] == told["conversions"]
    shares = room.house.query(
        "SELECT channel, credit::float AS credit FROM attribution_results r WHERE model = 'data_driven'"
        " AND window_days = 30 AND shopify_order_id = (SELECT min(shopify_order_id) FROM attribution_results"
        " WHERE model = 'data_driven' AND channel = 'paid' AND position = 2)"
    )
    whole = sum(weights.get(row["channel"], 0) for row in shares)
    for row in shares:
        assert row["credit"] == pytest.approx(weights.get(row["channel"], 0) / whole, abs=1e-8)


def test_journeys_are_those_of_attribution_and_what_visitors_did_without_buying(room: Classroom) -> None:
    """A visitor's touches after a conversion, or long before it, are journeys of their own; open ones are left out."""
    house = room.house
    for visitor, days, channel in [
        ("buyer", 60, "social"), ("buyer", 20.5, "paid"), ("buyer", 20, "email"), ("buyer", 10, "direct"),
        ("looker", 50, "organic"), ("looker", 49, "paid"), ("looker", 5, "email"),
        ("open", 1, "paid"), ("late", 9, "referral"),
    ]:  # fmt: skip
        house.write(
            "INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, channel, type, occurred_at)"
            " VALUES (gen_random_uuid(), '', %s, %s, 'click', %s)",
            visitor, channel, UNTIL - timedelta(days=days),
        )  # fmt: skip
    for order, visitor, days in [(1, "buyer", 19), (2, "late", 2)]:
        placed = UNTIL - timedelta(days=days)
        house.write(
            "INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents,"
            " shipping_cents, tax_cents, total_cents, financial_status, status, visitor_id, placed_at,"
            " shopify_updated_at) VALUES (%s, '#', 'USD', 1, 0, 1, 0, 0, 1, 'paid', 'open', %s, %s, %s)",
            order, visitor, placed, placed,
        )  # fmt: skip
        house.write(
            "INSERT INTO attribution_conversions (shopify_order_id, visitor_id, revenue_cents, gross_revenue_cents,"
            " currency, first_purchase, touchpoints, status, converted_at)"
            " VALUES (%s, %s, 1, 1, 'USD', true, 1, 'attributed', %s)",
            order, visitor, placed,
        )  # fmt: skip
    room.credit()
    journeys = room.journeys()
    told = [
        ([journeys.names[at] for at in journeys.channels[low:high]], bool(converted))
        for low, high, converted in zip(
            journeys.begins[:-1], journeys.begins[1:], journeys.converted, strict=True
        )
    ]
    assert told == [
        (["social"], False),
        (["organic", "paid"], False),
        (["paid", "email"], True),
        (["direct"], False),
        (["email"], False),
    ]


def test_model_that_is_no_better_is_kept_and_not_used(room: Classroom) -> None:
    room.fill(3000)
    room.train(room.ask())
    before = room.house.query(WEIGHTS)
    again = room.train(room.ask())
    assert (again["used"], again["reason"], again["version"]) == (False, "no_better_than_used", 2)
    assert again["in_use"]["version"] == 1
    assert [(row["version"], row["used"], row["reason"]) for row in room.house.query(MODELS)] == [
        (1, True, None),
        (2, False, "no_better_than_used"),
    ]
    assert room.house.query(WEIGHTS) == before


def test_model_in_use_that_cannot_be_read_is_replaced(room: Classroom) -> None:
    room.fill(3000)
    room.train(room.ask())
    room.house.write("UPDATE ml_models SET document = '{}'")
    assert room.train(room.ask())["used"] is True
    room.house.write("UPDATE ml_models SET code = 0")
    assert room.train(room.ask())["used"] is True
    assert [row["used"] for row in room.house.query(MODELS)] == [False, False, True]


def test_model_is_not_used_where_that_is_not_asked_for_or_too_few_converted(room: Classroom) -> None:
    room.fill(1000)
    told = room.train(room.ask())
    assert told["conversions"] < 300
    assert (told["used"], told["reason"]) == (False, "too_few_conversions")
    assert room.train(room.ask(may_use=False))["reason"] == "not_asked"
    assert room.house.query(WEIGHTS) == []


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"journeys": 60}, "too_few_samples"),
        ({"journeys": 200, "converting": "none"}, "no_conversions"),
        ({"journeys": 200, "converting": "all"}, "only_conversions"),
        ({"journeys": 400, "channels": ("paid",)}, "one_channel"),
    ],
)
def test_training_without_anything_to_learn_is_skipped(
    room: Classroom, about: dict[str, Any], reason: str
) -> None:
    room.fill(**about)
    training_id = room.ask()
    told = room.train(training_id)
    assert told == {"state": "skipped", "reason": reason, "training": str(training_id)}
    assert room.house.query(TRAININGS) == [{"state": "skipped", "reason": reason, "attempt": 1}]
    assert room.house.query(MODELS) == []


def test_interrupted_training_goes_on_in_the_next_container_without_doing_anything_twice(
    room: Classroom,
) -> None:
    room.fill(1500)
    training_id = room.ask()
    with pytest.raises(InterruptedWorkError):
        room.train(training_id, bell=Bell(after=9))
    first = room.units()
    assert len(first) == 9
    room.house.write("DELETE FROM attribution_touchpoints WHERE channel = 'email'")
    told = room.train(training_id)
    assert told["state"] == "succeeded"
    units = room.units()
    assert len(units) == len(set(units))
    assert units[:9] == first
    assert room.house.query(TRAININGS) == [{"state": "succeeded", "reason": told["reason"], "attempt": 2}]


def test_killed_training_loses_what_came_after_its_last_checkpoint(room: Classroom) -> None:
    room.fill(1500)
    training_id = room.ask()
    with pytest.raises(SystemExit):
        room.train(training_id, bell=Killing(after=9), checkpoint_every=timedelta())
    assert room.train(training_id)["state"] == "succeeded"
    units = room.units()
    assert len(units) - len(set(units)) == 1


class Killing(Bell):
    """Ends the container in the middle of a unit's end: nothing is saved."""

    def stop_asked(self) -> bool:
        if super().stop_asked():
            raise SystemExit
        return False


def test_training_killed_between_checkpoint_and_promotion_is_promoted_once(room: Classroom) -> None:
    room.fill(3000)
    training_id = room.ask()
    room.store = Fragile()
    with pytest.raises(SystemExit):
        room.train(training_id)
    assert [row["used"] for row in room.house.query(MODELS)] == [True]
    told = room.train(training_id)
    assert (told["state"], told["version"], told["used"]) == ("succeeded", 1, True)
    assert len(room.house.query(MODELS)) == 1
    whole = room.units()
    assert len(whole) == len(set(whole))


def test_training_killed_before_its_promotion_learns_nothing_again(room: Classroom) -> None:
    room.fill(3000)
    training_id = room.ask()
    with pytest.raises(SystemExit):
        room.train(training_id, clock=Stopped(room))
    assert room.house.query(MODELS) == []
    done = len(room.units())
    assert room.train(training_id)["used"] is True
    assert len(room.units()) == done


def test_damaged_checkpoint_is_set_aside_and_the_journeys_are_read_again(room: Classroom) -> None:
    room.fill(1500)
    training_id = room.ask()
    with pytest.raises(InterruptedWorkError):
        room.train(training_id, bell=Bell(after=9))
    room.store.kept = {key: body[:-1] + b"?" for key, body in room.store.kept.items()}
    assert room.train(training_id)["state"] == "succeeded"
    assert ("checkpoint set aside", {"why": "its digest is not that of its content"}) in room.notes


def test_container_hands_over_when_its_time_is_up(room: Classroom) -> None:
    room.fill(1500)
    training_id = room.ask()
    hands = 0
    while (told := room.train(training_id, span=timedelta()))["state"] == "handed_over":
        hands += 1
    assert told["state"] == "succeeded"
    assert hands == len(room.units())
    assert len(set(room.units())) == hands


def test_second_training_of_a_tenant_is_skipped_while_one_is_at_work(room: Classroom) -> None:
    room.fill(400)
    first, second = room.ask(), room.ask()
    with pytest.raises(InterruptedWorkError):
        room.train(first, bell=Bell(after=1))
    assert room.train(second)["reason"] == "another_runs"
    room.house.write("UPDATE ml_trainings SET held_until = now() - interval '1 hour' WHERE state = 'running'")
    assert room.train(second)["state"] == "succeeded"
    states = {row["reason"]: row["state"] for row in room.house.query(TRAININGS)}
    assert states["lost"] == "failed"


def test_container_that_was_taken_over_writes_nothing(room: Classroom) -> None:
    room.fill(400)
    training_id = room.ask()
    bell = Taken(room, training_id)
    with pytest.raises(FenceLostError):
        room.train(training_id, bell=bell)
    assert len(room.house.query(MODELS)) == 1


class Taken(Bell):
    """Has another container do the whole training before this one's first unit is over."""

    def __init__(self, room: Classroom, training_id: UUID) -> None:
        super().__init__()
        self._room, self._training_id = room, training_id

    def stop_asked(self) -> bool:
        if not self.asked:
            self._room.train(self._training_id)
        return super().stop_asked()


def test_failed_training_may_be_tried_again_at_once(room: Classroom) -> None:
    room.fill(400)
    training_id = room.ask()
    with pytest.raises(ZeroDivisionError):
        room.train(training_id, bell=Breaking())
    assert room.house.query(TRAININGS) == [{"state": "failed", "reason": "ZeroDivisionError", "attempt": 1}]
    assert room.train(training_id)["state"] == "succeeded"


class Fragile(FakePayloads):
    """Ends the container when it deletes what it does not need any more: its model is registered, and nobody told."""

    broken: bool = False

    def delete(self, key: str) -> None:
        if not self.broken:
            self.broken = True
            raise SystemExit
        super().delete(key)


class Stopped(Clock):
    """Ends the container at the first look at the clock after the last unit."""

    def __init__(self, room: Classroom) -> None:
        self._room, self._left = room, 2

    def now(self) -> datetime:
        if self._room.notes and self._room.notes[-1][0] == "checkpoint saved":
            raise SystemExit
        return datetime.now(UTC)


class Breaking(Bell):
    def stop_asked(self) -> bool:
        raise ZeroDivisionError


def test_training_that_has_ended_tells_how_and_one_that_nobody_asked_for_is_unknown(room: Classroom) -> None:
    room.fill(3000)
    training_id = room.ask()
    first = room.train(training_id)
    again = room.train(training_id)
    assert {name: again[name] for name in ("state", "version", "algorithm", "used")} == {
        name: first[name] for name in ("state", "version", "algorithm", "used")
    }
    with pytest.raises(NotFoundError):
        room.train(uuid4())


def ask(house: House, **payload: Any) -> Any:
    end = house.run(attribution_ml_training, {"until": UNTIL.isoformat(), **payload}, source=Source.MANUAL)
    return end.result if isinstance(end, Done) else end


def test_task_starts_one_execution_for_its_training(room: Classroom) -> None:
    room.fill(400)
    told = ask(room.house, use=False)
    assert (told["state"], told["reason"]) == ("requested", None)
    assert room.house.long_machines.started == {
        told["execution"]: {
            "machine": "ml-training",
            "tenant": str(room.house.tenant_id),
            "training": told["training_id"],
        }
    }
    assert room.house.query("SELECT training_id::text AS id, state, may_use, until FROM ml_trainings") == [
        {"id": told["training_id"], "state": "requested", "may_use": False, "until": UNTIL}
    ]


def test_task_leaves_the_container_to_the_round_that_asks(room: Classroom) -> None:
    room.fill(400)
    house = room.house
    house.long_machines.running = AT_ONCE
    end = house.run(attribution_ml_training, {"until": UNTIL.isoformat()}, source=Source.WORKFLOW)
    assert isinstance(end, Done)
    assert end.result["state"] == "requested"
    assert end.result["execution"].endswith(end.result["training_id"])
    assert house.long_machines.started == {}
    assert [row["state"] for row in house.query(TRAININGS)] == ["requested"]


def test_task_asks_for_no_container_where_too_little_happened(room: Classroom) -> None:
    assert ask(room.house)["reason"] == "too_few_samples"
    room.fill(400, converting="none")
    assert ask(room.house)["reason"] == "no_conversions"
    assert room.house.long_machines.started == {}
    assert room.house.query(TRAININGS) == []


def test_task_waits_for_its_turn(room: Classroom) -> None:
    room.fill(400)
    room.house.long_machines.running = AT_ONCE
    ask(room.house)
    assert room.house.long_machines.started == {}
    [row] = room.house.query("SELECT state, due_at > now() AS later FROM outbox")
    assert row == {"state": "held", "later": True}


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"until": "yesterday"}, "until"),
        ({"until": "2026-11-20T04:00:00"}, "until"),
        (
            {"until": "2999-01-01T00:00:00Z"},
            "until: 2999-01-01T00:00:00+00:00 lies ahead; name a time that has passed",
        ),
        ({"use": "perhaps"}, "use"),
        ({"epochs": 100}, "epochs"),
    ],
)
def test_bad_request_is_told_by_its_field(house: House, payload: dict[str, Any], told: str) -> None:
    end = ask(house, **payload)
    assert isinstance(end, Dead)
    assert told in str(end.error)
    assert house.long_machines.started == {}
