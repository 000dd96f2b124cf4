"""What export tasks take."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    StringConstraints,
    model_validator,
)

from analytics.attribution_exports.model import COLUMNS, Dataset, Every, Export, Format, Rhythm
from tradewind.contracts.attribution import Model
from tradewind.contracts.payload import StrictPayload
from tradewind.exporting import Destination, DestinationKind

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$")]


def without_parents(path: str) -> str:
    """Raises ValueError for a path that leaves its place."""
    if ".." in path.split("/"):
        raise ValueError("may not lead out of its place by '..'")
    return path


Path = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,400}$"), AfterValidator(without_parents)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]{1,2000}$")]


class Bucket(StrictPayload):
    """A bucket at AWS, or with ``endpoint`` wherever S3's API is spoken: Google's is https://storage.googleapis.com."""

    kind: Literal["s3"] = "s3"
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,32}$")] = "us-east-1"
    prefix: Path = ""
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:-]{1,253}/?$")] | None = None


class Webhook(StrictPayload):
    """An address that takes each file as the body of a POST."""

    kind: Literal["webhook"] = "webhook"
    url: Url

    @model_validator(mode="after")
    def _without_login(self) -> Webhook:
        parts = urlsplit(self.url)
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise ValueError(
                "url needs a host, and no login in it: the secret is stored with `make credentials`"
            )
        return self


class Sftp(StrictPayload):
    """A server that takes files by SFTP into ``folder``."""

    kind: Literal["sftp"] = "sftp"
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    username: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]
    folder: Path = ""


class ExportConfig(StrictPayload):
    """An export as a person describes it; one of the same name is replaced."""

    name: Name
    dataset: Dataset = Dataset.TOUCHES
    format: Format = Format.CSV
    destination: Annotated[Bucket | Webhook | Sftp, Field(discriminator="kind")]
    columns: Annotated[tuple[str, ...], Field(max_length=40)] = ()
    models: Annotated[tuple[Model, ...], Field(max_length=7)] = ()
    windows_days: Annotated[tuple[Annotated[int, Field(ge=1, le=90)], ...], Field(max_length=10)] = ()
    every: Every = Every.DAY
    at_hour: Annotated[int, Field(ge=0, le=23)] = 4
    look_back_days: Annotated[int, Field(ge=1, le=400)] = 1
    active: bool = True

    @model_validator(mode="after")
    def _of_its_dataset(self) -> ExportConfig:
        known = COLUMNS[self.dataset]
        strange = [name for name in self.columns if name not in known]
        if strange:
            raise ValueError(f"columns: {strange[0]!r} is none of {self.dataset}: {', '.join(known)}")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: one is named twice")
        if self.dataset is Dataset.CONVERSIONS and (self.models or self.windows_days):
            raise ValueError(
                "models and windows_days: conversions have a column for each model; name columns"
            )
        return self

    def export(self) -> Export:
        told = self.destination.model_dump(exclude={"kind"}, exclude_none=True)
        address = {name: str(value) for name, value in told.items()}
        return Export(
            self.name,
            self.dataset,
            self.format,
            Destination(DestinationKind(self.destination.kind), self.name, address),
            self.columns,
            tuple(self.models),
            self.windows_days,
            Rhythm(self.every, self.at_hour),
            self.look_back_days,
            self.active,
        )


class ExportToMake(StrictPayload):
    """An export whose file for ``due_at`` is made and brought; by hand without it, up to the last full day or hour."""

    name: Name
    due_at: AwareDatetime | None = None


class DueExports(StrictPayload):
    """How many exports are started at most."""

    limit: Annotated[int, Field(ge=1, le=10)] = 10
