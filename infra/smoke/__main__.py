"""``python -m infra.smoke``: see representative tasks of a stage through; 1 with the reason where one fails.

``STAGE`` names the stage, the local one by default. ``TENANT`` names a tenant of it; the local stage makes one where
none is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from infra.local import find_state
from infra.names import LOCAL
from infra.operate import OperateError, find_stage
from infra.smoke.seen import Seen, SmokeError, as_lines
from infra.smoke.shop import open_shop
from infra.smoke.site import site_of
from infra.smoke.standing import see_through
from infra.smoke.throwaway import ThrowAway

LEAST = 5


def smoke(stage: str, tenant: str) -> Iterator[Seen]:
    """Raises SmokeError and OperateError."""
    if tenant:
        with site_of(tenant) as site:
            yield from see_through(site)
        return
    state = find_state() if stage == LOCAL else None
    if stage != LOCAL:
        raise SmokeError(f"stage {stage} needs TENANT: the slug of a tenant with an order")
    if state is None:
        raise SmokeError("no local cloud is running; start one with `make up`")
    shop = open_shop(find_stage(), state)
    with site_of(shop.slug) as site:
        yield from ThrowAway(site, shop).see_through()


def main() -> int:
    done = 0
    try:
        for each in smoke(os.environ.get("STAGE") or LOCAL, os.environ.get("TENANT", "")):
            sys.stdout.write(as_lines([each]))
            sys.stdout.flush()
            done += 1
    except (SmokeError, OperateError) as error:
        sys.stdout.write(f"failed after {done} tasks: {error}\n")
        return 1
    sys.stdout.write(f"{done} tasks seen through\n")
    return int(done < LEAST)


if __name__ == "__main__":
    sys.exit(main())
