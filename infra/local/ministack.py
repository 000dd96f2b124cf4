"""MiniStack, the AWS emulator of the local cloud, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
from botocore.config import Config

from infra.local import paths
from infra.local.ports import HOST, free_port
from infra.local.processes import Launcher, Process, Program, clean_environment

REGION = "us-east-1"
ACCOUNT = "000000000000"
READY_TIMEOUT_S = 30.0
LAUNCHER = Path(__file__).with_name("ministack_launcher.py")
NOTHING: Mapping[str, str] = MappingProxyType({})

# What every AWS client of the local cloud is given. The keys are those of no account, and the files that
# could name a real one are not read.
CLIENT_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": f"{HOST},localhost",
    "no_proxy": f"{HOST},localhost",
}


def client_of(endpoint_url: str, service: str) -> Any:
    """A boto3 client of an emulator, whatever the caller's AWS configuration."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=CLIENT_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CLIENT_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}, proxies={}),
    )


@dataclass(slots=True)
class MiniStack:
    """A running emulator."""

    process: Process
    port: int

    @property
    def endpoint_url(self) -> str:
        """The endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.endpoint_url}/_ministack/ready")

    def client(self, service: str) -> Any:
        """A boto3 client of this emulator, whatever the caller's AWS configuration."""
        return client_of(self.endpoint_url, service)


def start_ministack(
    folder: Path,
    log: Path,
    port: int,
    launcher: Launcher,
    *,
    authorize: bool = False,
    keep_state: bool = False,
    functions: Mapping[str, str] = NOTHING,
) -> MiniStack:
    """Start an empty emulator; without `keep_state` it keeps nothing beyond its process but scratch files in `folder`.

    With `authorize` every call is checked against the IAM policies of the caller's role. Functions inherit
    the emulator's environment, so it is given nothing but what a function on AWS would have too; and ``functions``,
    which says how they are started.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(
        BIND_HOST=HOST,
        GATEWAY_PORT=str(port),
        MINISTACK_HOST=HOST,
        MINISTACK_REGION=REGION,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        STATE_DIR=str(folder / "state"),
        S3_DATA_DIR=str(folder / "s3"),
        TMPDIR=str(scratch),
        LOG_LEVEL="WARNING",
        AUTH=str(authorize).lower(),
        PERSIST_STATE=str(int(keep_state)),
        S3_PERSIST=str(int(keep_state)),
        **functions,
    )
    # -P: this folder must not be searched for modules, its names being those of installed packages.
    command = [str(paths.EMULATOR.python), "-P", str(LAUNCHER)]
    server = MiniStack(launcher.start(Program("MiniStack", command, log, environment, folder)), port)
    try:
        server.process.wait_until(server.is_ready, READY_TIMEOUT_S)
    except BaseException:
        server.process.stop()
        raise
    return server


@contextlib.contextmanager
def ministack_server(*, authorize: bool = False) -> Iterator[MiniStack]:
    """An empty emulator for the duration of the block, ready in half a second."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"ministack-{os.getpid()}-", dir=paths.RUN))
    try:
        server = start_ministack(
            folder, folder / "ministack.log", free_port(), Launcher(), authorize=authorize
        )
        try:
            yield server
        finally:
            server.process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    """Whether a GET of a loopback URL gives 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False
