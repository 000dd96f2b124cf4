"""What keeps state: key, payload bucket, dead-letter queues; on AWS also database and cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from aws_cdk import Aws, CfnResource, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.constructs.alarm import Alarm
from infra.constructs.cache import Cache
from infra.constructs.database import Database
from infra.constructs.queue import Queue
from infra.grants import tls_only
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack
from tradewind.retention import PAYLOADS

DEAD_LETTER_VISIBILITY = timedelta(minutes=6)
INTAKE_VISIBILITY = timedelta(minutes=6)
"""Six times the intake's time-out, as AWS advises where a batch may be handed back."""


class DataStack(TradewindStack):
    """``domains`` are those of the registry: each has one queue for its dead letters."""

    def __init__(self, scope: Construct, settings: StageSettings, domains: Sequence[str]) -> None:
        super().__init__(scope, settings, "data", "Key, payloads, dead letters, database and cache")
        self.keep = RemovalPolicy.RETAIN if settings.keep_data else RemovalPolicy.DESTROY
        self._key()
        self._bucket()
        for domain in domains:
            self._dead_letters(
                self.names.dead_letters(domain), self.settings.pace.of(DEAD_LETTER_VISIBILITY), domain
            )
        self._dead_letters(self.names.schedule_dead_letters, timedelta(seconds=30), "schedules")
        self._intake()
        scheduler.CfnScheduleGroup(self, "schedules", name=self.names.schedule_group)
        if not settings.is_local:
            self.publish("redis-url", Cache(self).url)
            Database(self, self.keep)

    def publish(self, value_name: str, value: str) -> None:
        """Tell other stacks a value that only the deployment knows."""
        ssm.CfnParameter(
            self,
            f"{value_name}-parameter",
            name=self.names.parameter("data", value_name),
            type="String",
            value=value,
        )

    def _protect(self, resource: CfnResource) -> None:
        resource.apply_removal_policy(self.keep)

    def _key(self) -> None:
        key = kms.CfnKey(
            self,
            "key",
            description=f"Encrypts the tenants' credentials in stage {self.settings.stage}",
            enable_key_rotation=True,
            pending_window_in_days=30 if self.settings.keep_data else 7,
            key_policy={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "AccountDecidesByIam",
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:root"},
                        "Action": "kms:*",
                        "Resource": "*",
                    }
                ],
            },
        )
        self._protect(key)
        kms.CfnAlias(self, "key-alias", alias_name=self.names.key_alias, target_key_id=key.attr_arn)
        self.publish("key-arn", key.attr_arn)

    def _bucket(self) -> None:
        """Bodies above a queue's limit; the objects are no archive and end with their retention."""
        bucket = s3.CfnBucket(
            self,
            "payloads",
            bucket_name=self.names.payload_bucket,
            bucket_encryption=s3.CfnBucket.BucketEncryptionProperty(
                server_side_encryption_configuration=[
                    s3.CfnBucket.ServerSideEncryptionRuleProperty(
                        server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                            sse_algorithm="AES256"
                        )
                    )
                ]
            ),
            public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
            ),
            lifecycle_configuration=s3.CfnBucket.LifecycleConfigurationProperty(
                rules=[
                    s3.CfnBucket.RuleProperty(
                        id="retention",
                        status="Enabled",
                        expiration_in_days=PAYLOADS.days,
                        abort_incomplete_multipart_upload=s3.CfnBucket.AbortIncompleteMultipartUploadProperty(
                            days_after_initiation=1
                        ),
                    )
                ]
            ),
        )
        self._protect(bucket)
        if not self.settings.is_local:
            document = {
                "Version": "2012-10-17",
                "Statement": [tls_only("s3:*", bucket.attr_arn, f"{bucket.attr_arn}/*")],
            }
            s3.CfnBucketPolicy(self, "payloads-policy", bucket=bucket.ref, policy_document=document)

    def _intake(self) -> None:
        """Deliveries wait here while the database does not answer; a standard queue, since their order does not
        count.
        """
        dead = self._dead_letters(self.names.intake_dead_letters, timedelta(seconds=30), "intake")
        queue = Queue(
            self,
            "intake",
            name=self.names.intake,
            visibility=self.settings.pace.of(INTAKE_VISIBILITY),
            dead_letters=self.names.intake_dead_letters,
        )
        queue.resource.add_resource_dependency(dead.resource)
        Alarm(
            self,
            "intake-age",
            stack=self,
            name=f"{self.names.intake}-age",
            description="webhooks wait in the intake queue: the database does not answer, or the intake fails",
            namespace="AWS/SQS",
            metric="ApproximateAgeOfOldestMessage",
            dimensions={"QueueName": self.names.intake},
            statistic="Maximum",
            threshold=self.settings.message_age_alarm.total_seconds(),
        )

    def _dead_letters(self, name: str, visibility: timedelta, of: str) -> Queue:
        queue = Queue(self, f"{of}-dead", name=name, visibility=visibility)
        Alarm(
            self,
            f"{of}-dead-alarm",
            stack=self,
            name=f"{name.removesuffix('.fifo')}-waiting",
            description=f"dead letters of {of} lie in {name}",
            namespace="AWS/SQS",
            metric="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": name},
            statistic="Maximum",
            threshold=1,
            periods=3 if name.endswith(".fifo") else 1,
        )
        return queue
