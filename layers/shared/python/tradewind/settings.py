"""Settings from the environment, read once per process and never at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from tradewind.errors import MisconfiguredError

DEFAULT_SHOPIFY_VERSION = "2026-07"
DEFAULT_FAIRING_URL = "https://app.fairing.co/api"
DEFAULT_GA4_URL = "https://www.google-analytics.com"
"""In the European Union ``https://region1.google-analytics.com``."""
DEFAULT_META_URL = "https://graph.facebook.com/v26.0"
DEFAULT_TIKTOK_URL = "https://business-api.tiktok.com/open_api/v1.3"
DEFAULT_GOOGLE_ADS_URL = "https://googleads.googleapis.com/v26"
DEFAULT_GOOGLE_OAUTH_URL = "https://oauth2.googleapis.com/token"
PROVIDER_TIMEOUT = timedelta(seconds=4)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a function knows about where it runs. Field names follow the environment variables in the README."""

    stage: str
    region: str
    account: str
    endpoint_url: str | None
    database_url: str | None
    database_secret: str | None
    redis_url: str | None
    kms_key: str
    payload_bucket: str
    shopify_url: str
    shopify_api_version: str
    resend_url: str
    resend_call_spacing: timedelta
    slack_url: str
    ga4_url: str
    meta_url: str
    tiktok_url: str
    google_ads_url: str
    google_oauth_url: str
    fairing_url: str
    tenant_emails_per_second: int
    max_body_bytes: int
    max_message_bytes: int
    admission_bound: int
    provider_timeout: timedelta
    tenant_requests_per_second: int
    workflow_start_timeout: timedelta
    time_percent: int
    longest_time: timedelta
    unsent_after: timedelta
    lost_after: timedelta
    receiver_database_wait: timedelta

    @property
    def queue_prefix(self) -> str:
        """``https://host/account/`` such that a queue's URL is the prefix and its name."""
        base = self.endpoint_url or f"https://sqs.{self.region}.amazonaws.com"
        return f"{base.rstrip('/')}/{self.account}/"

    def shortened(self, duration: timedelta) -> timedelta:
        """A time-out, margin or lease as this stage has it: all of them are shortened alike."""
        return min(duration * self.time_percent / 100, self.longest_time)

    def name(self, part: str) -> str:
        """The name of a function, queue or machine of this stage."""
        return f"tradewind-{self.stage}-{part}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit() or int(text) == 0:
        raise MisconfiguredError(f"{name} is {text!r}; set a positive whole number (default {default})")
    return int(text)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Build settings. Raises MisconfiguredError that names the variable and the remedy."""
    stage = environment.get("TRADEWIND_STAGE", "")
    if not stage:
        raise MisconfiguredError("TRADEWIND_STAGE is not set; set local, dev or prod")
    if not (environment.get("TRADEWIND_DATABASE_URL") or environment.get("TRADEWIND_DATABASE_SECRET")):
        raise MisconfiguredError(
            "set TRADEWIND_DATABASE_URL, or TRADEWIND_DATABASE_SECRET to a secret's name"
        )
    return Settings(
        stage=stage,
        region=environment.get("AWS_REGION", environment.get("AWS_DEFAULT_REGION", "us-east-1")),
        account=environment.get("TRADEWIND_ACCOUNT", ""),
        endpoint_url=environment.get("AWS_ENDPOINT_URL") or None,
        database_url=environment.get("TRADEWIND_DATABASE_URL") or None,
        database_secret=environment.get("TRADEWIND_DATABASE_SECRET") or None,
        redis_url=environment.get("TRADEWIND_REDIS_URL") or None,
        kms_key=environment.get("TRADEWIND_KMS_KEY", f"alias/tradewind-{stage}"),
        payload_bucket=environment.get("TRADEWIND_PAYLOAD_BUCKET", ""),
        shopify_url=environment.get("TRADEWIND_SHOPIFY_URL", "https://{shop}"),
        shopify_api_version=environment.get("TRADEWIND_SHOPIFY_API_VERSION", DEFAULT_SHOPIFY_VERSION),
        slack_url=environment.get("TRADEWIND_SLACK_URL", "https://slack.com/api"),
        ga4_url=environment.get("TRADEWIND_GA4_URL", DEFAULT_GA4_URL),
        meta_url=environment.get("TRADEWIND_META_URL", DEFAULT_META_URL),
        tiktok_url=environment.get("TRADEWIND_TIKTOK_URL", DEFAULT_TIKTOK_URL),
        google_ads_url=environment.get("TRADEWIND_GOOGLE_ADS_URL", DEFAULT_GOOGLE_ADS_URL),
        google_oauth_url=environment.get("TRADEWIND_GOOGLE_OAUTH_URL", DEFAULT_GOOGLE_OAUTH_URL),
        fairing_url=environment.get("TRADEWIND_FAIRING_URL", DEFAULT_FAIRING_URL),
        resend_url=environment.get("TRADEWIND_RESEND_URL", "https://api.resend.com"),
        resend_call_spacing=timedelta(
            milliseconds=_whole_number(environment, "TRADEWIND_RESEND_CALL_SPACING_MS", 550)
        ),
        tenant_emails_per_second=_whole_number(environment, "TRADEWIND_TENANT_EMAILS_PER_SECOND", 10),
        max_body_bytes=_whole_number(environment, "TRADEWIND_MAX_BODY_BYTES", 4 * 1024 * 1024),
        max_message_bytes=_whole_number(environment, "TRADEWIND_MAX_MESSAGE_BYTES", 900 * 1024),
        admission_bound=_whole_number(environment, "TRADEWIND_ADMISSION_BOUND", 100),
        provider_timeout=timedelta(
            seconds=_whole_number(
                environment, "TRADEWIND_PROVIDER_TIMEOUT_S", int(PROVIDER_TIMEOUT.total_seconds())
            )
        ),
        tenant_requests_per_second=_whole_number(environment, "TRADEWIND_TENANT_REQUESTS_PER_SECOND", 10),
        workflow_start_timeout=timedelta(
            seconds=_whole_number(environment, "TRADEWIND_WORKFLOW_START_TIMEOUT_S", 43)
        ),
        time_percent=_whole_number(environment, "TRADEWIND_TIME_PERCENT", 100),
        longest_time=timedelta(seconds=_whole_number(environment, "TRADEWIND_LONGEST_TIME_S", 15 * 60)),
        unsent_after=timedelta(seconds=_whole_number(environment, "TRADEWIND_UNSENT_AFTER_S", 30)),
        lost_after=timedelta(seconds=_whole_number(environment, "TRADEWIND_LOST_AFTER_S", 15 * 60)),
        receiver_database_wait=timedelta(
            seconds=_whole_number(environment, "TRADEWIND_RECEIVER_DATABASE_WAIT_S", 1)
        ),
    )


@cache
def current_settings() -> Settings:
    """The process's settings, read on first use."""
    return read_settings(os.environ)
