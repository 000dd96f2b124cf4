"""The stage that is looked at: its settings, and clients that only read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from infra.local import State, find_state
from infra.local.deployment import Addresses
from infra.local.ministack import CLIENT_ENVIRONMENT
from infra.names import LOCAL
from infra.settings import StageSettings, stage_settings


class NoStageError(Exception):
    """The stage cannot be looked at; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class Place:
    """``environment`` is what the CDK and its app need beside the present one."""

    settings: StageSettings
    client: Callable[[str], Any]
    environment: Mapping[str, str]


def find_place(stage: str) -> Place:
    """Raises NoStageError, and SettingError for an unknown stage."""
    config = Config(read_timeout=120, retries={"max_attempts": 2})
    if stage != LOCAL:
        settings = stage_settings(stage, os.environ)
        return Place(settings, lambda service: boto3.client(service, config=config), {})
    state = find_state()
    if state is None:
        raise NoStageError("no local cloud is running; start one with `make up`, or name a deployed stage")
    environment = _environment(state)
    settings = stage_settings(LOCAL, environment)

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=state.aws_endpoint_url,
            region_name=state.region,
            aws_access_key_id=CLIENT_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CLIENT_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            config=config,
        )

    return Place(settings, client, environment)


def _environment(state: State) -> dict[str, str]:
    addresses = Addresses(
        app_database_url=state.app_database_url,
        platform_database_url=state.platform_database_url,
        owner_database_url=state.owner_database_url,
        redis_url=state.redis_url,
        sandbox_url=state.sandbox_url,
        aws_endpoint_url=state.aws_endpoint_url,
    )
    return {**CLIENT_ENVIRONMENT, **addresses.environment(), "AWS_ENDPOINT_URL": state.aws_endpoint_url}
