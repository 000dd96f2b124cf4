"""Postgres is away for a while, under load: every webhook is answered well, and worked on afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.chaos.platforms import wrong
from tests.chaos.run import Ground, run_undisturbed, run_without_postgres
from tests.chaos.scenario import SIZES, Scenario, make_scenario
from tests.chaos.tables import briefly, differences


def test_every_webhook_is_answered_well_and_worked_on_when_postgres_is_back(
    ground: Ground, scenario: Scenario
) -> None:
    short = make_scenario(scenario.seed + 1000, replace(SIZES["small"], webhooks=60), ground.now)
    calm = run_undisturbed(ground, short)
    answers, found = run_without_postgres(ground, short, scenario.size.outage_s)
    assert Counter(answers) == {200: len(short.sent)}
    told = differences(calm, found) + wrong(calm.books, found.books)
    assert not told, briefly(told)
