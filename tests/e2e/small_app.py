"""The smallest app the local cloud accepts, as a cloud assembly written by hand: one HTTP API, no function.

Copied into a checkout of its own by `test_local_cloud.py` and run there by the CDK command line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

STACK = "tradewind-local-ingress"

if Path("app-fails").exists():
    sys.exit("a construct of this app cannot be built")

folder = Path(os.environ["CDK_OUTDIR"])
folder.mkdir(parents=True, exist_ok=True)
api = {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "webhooks", "ProtocolType": "HTTP"}}
(folder / f"{STACK}.template.json").write_text(json.dumps({"Resources": {"Api": api}}))
stack = {
    "type": "aws:cloudformation:stack",
    "environment": "aws://000000000000/us-east-1",
    "properties": {"templateFile": f"{STACK}.template.json"},
}
(folder / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": {STACK: stack}}))
