"""Trainings on a real Postgres: what is read, what is registered and used, and what becomes of interrupted ones."""

from __future__ import annotations

import pytest

from tests.integration.classroom import Classroom
from tests.integration.harness import House


@pytest.fixture
def room(house: House) -> Classroom:
    return Classroom(house)


def test_training_learns_registers_and_is_used(room: Classroom) -> None:
    room.fill(3000)
    told = room.train(room.ask())
    assert (told["state"], told["used"], told["reason"], told["version"]) == ("succeeded", True, None, 1)
    assert told["samples"] == 3000
    weights = {row["channel"]: row["weight"] for row in room.house.query("SELECT * FROM attribution_weights")}
    assert abs(sum(weights.values()) - 1) < 1e-9
    assert sorted(weights, key=weights.__getitem__)[-2:] == ["email", "paid"]
