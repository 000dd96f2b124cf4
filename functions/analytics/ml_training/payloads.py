"""What may be asked of the training tasks."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class TrainingRequest(BaseModel):
    """Journeys of the 90 days before ``until`` (the run's own moment). Without ``use`` the model is registered, and not
    used whatever it is worth.
    """

    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime | None = None
    use: bool = True
