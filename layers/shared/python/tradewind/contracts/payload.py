"""What a model of something that comes in from outside is made from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """A field that is not named is passed over.

    Validators are built at the first use: a module holds the payloads of all its tasks, and a Lambda needs one.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)


class StrictPayload(Payload):
    """A field that is not named is refused."""

    model_config = ConfigDict(extra="forbid")
