"""``make image``: build the training container's image and push it to the stage's repository, with Docker.

The tag is the hash of what lies in it, the one that the task definition names: deploying and this may come in either
order once the repository is there, and an image that is there already is not built again. Needs Docker with buildx, and
credentials of the stage's account. Run as ``python -m infra.image --stage dev``; ``--build-only`` pushes nothing.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra import bundles
from infra.names import Names
from infra.settings import BUILDER_RUNTIME

PLATFORM = "linux/arm64"


class ImageError(RuntimeError):
    """The image cannot be built or pushed; the message says what to change."""


def build_command(tag: str, *, push: bool) -> list[str]:
    """Docker's command for the context that is staged now."""
    bundle = bundles.container_bundle()
    version = BUILDER_RUNTIME.removeprefix("python")
    command = ["docker", "buildx", "build", "--platform", PLATFORM, "--provenance=false", "--tag", tag]
    command += ["--build-arg", f"PYTHON_VERSION={version}", "--push" if push else "--load"]
    return [*command, str(bundle.folder)]


def push_image(stage: str, ecr: Any) -> str:
    """Build and push what is not there yet; returns the image's address. Raises ImageError."""
    name, tag = Names(stage).training, bundles.container_bundle().digest[:16]
    try:
        [repository] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
        address = f"{repository['repositoryUri']}:{tag}"
        if ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": tag}])["images"]:
            return address
        [access] = ecr.get_authorization_token()["authorizationData"]
    except (BotoCoreError, ClientError) as error:
        raise ImageError(
            f"{error}; is stage {stage} deployed, and are your credentials its account's?"
        ) from error
    user, _, password = base64.b64decode(access["authorizationToken"]).decode().partition(":")
    login = ["docker", "login", "--username", user, "--password-stdin", access["proxyEndpoint"]]
    _docker(login, password)
    _docker(build_command(address, push=True))
    return address


def _docker(command: list[str], secret: str | None = None) -> None:
    try:
        ended = subprocess.run(command, input=secret, text=True, check=False)
    except FileNotFoundError as error:
        raise ImageError("docker is not installed: build on a machine that has it, or in CI") from error
    if ended.returncode != 0:
        raise ImageError(f"{' '.join(command[:3])} ended with {ended.returncode}")


def main() -> int:
    """Build, push, and say where the image lies; returns the exit code."""
    parser = argparse.ArgumentParser(prog="image", description=__doc__)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--build-only", action="store_true")
    asked = parser.parse_args()
    try:
        if asked.build_only:
            _docker(build_command("tradewind-training:local", push=False))
            address = "tradewind-training:local"
        else:
            address = push_image(asked.stage, boto3.client("ecr"))
    except ImageError as error:
        sys.stderr.write(f"make image: {error}\n")
        return 1
    sys.stdout.write(f"image {address}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
