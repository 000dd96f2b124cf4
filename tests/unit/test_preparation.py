"""A task's own Lambda imports what its calls need while it starts; whoever only reads the registry does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = "tradewind.integrations.shopify.provider"
TASKS = "commerce.order_sync.tasks"


@pytest.mark.parametrize(
    ("handler", "loaded"),
    [(f"{TASKS}.sync_order", True), (f"{TASKS}.order_commission", False), (None, False)],
)
def test_own_handler_decides_what_is_imported(handler: str | None, loaded: bool) -> None:
    code = f"import sys, {TASKS}; print({HEAVY!r} in sys.modules, 'tradewind.tasks.runtime' in sys.modules)"
    environment = {name: text for name, text in os.environ.items() if name != "_HANDLER"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)} | ({"_HANDLER": handler} if handler else {})
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == [str(loaded), str(handler is not None)]
