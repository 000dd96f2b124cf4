"""The events of the platform's own applications: type -> what its body must be.

A task that names an event type as its trigger needs the type's contract here, and takes what the contract gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from tradewind.contracts.touchpoints import TouchpointRecorded

EVENTS: Mapping[str, type[BaseModel]] = {
    "touchpoint.recorded": TouchpointRecorded,
}
