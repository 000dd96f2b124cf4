"""``python -m infra.smoke.ads``: have the ad platforms look at one order's purchase, and print what each must show.

``TENANT`` and ``ORDER`` name the order; ``META_CODE`` and ``TIKTOK_CODE`` are the test event codes that Events Manager
and TikTok Ads Manager show, else the tenant's setting ``ads.test_codes``. ``STAGE`` names the stage, the local one by
default. 1 with the reason where a platform refuses it, or none has taken it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from infra.operate import OperateError, find_stage
from tradewind.money import to_text

TASK = "analytics-verify-ad-events"
PLATFORMS = {"ga4": "GA4", "meta": "Meta", "tiktok": "TikTok"}


def request_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the task is invoked with. Raises OperateError that names what is missing."""
    tenant, order = environment.get("TENANT", ""), environment.get("ORDER", "")
    if not tenant:
        raise OperateError("TENANT is missing: the tenant's slug, as in TENANT=acme")
    if not order.isdigit():
        raise OperateError(f"ORDER is {order!r}: Shopify's number of an order, as in ORDER=5400000001000")
    codes = {
        "meta_test_code": environment.get("META_CODE", ""),
        "tiktok_test_code": environment.get("TIKTOK_CODE", ""),
    }
    payload = {"order_id": int(order)} | {name: code for name, code in codes.items() if code}
    return {"tenant": tenant, "payload": payload, "cause": f"verify-ads:{uuid4()}"}


def as_lines(verified: Mapping[str, Any]) -> str:
    """Each platform's verdict, with what is to be done or to be seen."""
    currency = verified["currency"]
    lines = [f"order {verified['order_id']}"]
    for each in verified["platforms"]:
        value = f"{to_text(each['value_cents'], currency)} {currency}" if each["value_cents"] else ""
        about = "  ".join(filter(None, (value, each["reference"])))
        lines.append(f"{each['verdict']:13} {PLATFORMS[each['destination']]:7} {about}".rstrip())
        seen = "; ".join(f"{name} {text}" for name, text in (each["seen"] or {}).items())
        lines += [f"{'':13} -> {text}" for text in (each["detail"], seen, each["shows"]) if text]
    return "\n".join(lines) + "\n"


def is_well(verified: Mapping[str, Any]) -> bool:
    """Whether some platform has taken it and none has refused it."""
    verdicts = [each["verdict"] for each in verified["platforms"]]
    return "accepted" in verdicts and "refused" not in verdicts


def main() -> int:
    try:
        request = request_of(os.environ)
        verified = find_stage().invoke(TASK, request)
    except OperateError as error:
        sys.stdout.write(f"failed: {error}\n")
        return 1
    sys.stdout.write(as_lines(verified))
    return int(not is_well(verified))


if __name__ == "__main__":
    sys.exit(main())
