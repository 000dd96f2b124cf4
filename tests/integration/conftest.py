from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House, add_tenant, local_settings


@pytest.fixture
def house(database: DatabaseUrls) -> Iterator[House]:
    """The tenant ``acme`` on a fresh database."""
    built = House(database, local_settings(database), add_tenant(database, "acme"))
    yield built
    built.close()
