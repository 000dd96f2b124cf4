"""The training container's command: ``python -m analytics.ml_training.container``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from analytics.ml_training.working import Trainer
from tradewind.tasks.container import Container, serve


def train(given: Container) -> Mapping[str, Any]:
    """Train the models of the run's tenant."""
    return Trainer(given).train()


if __name__ == "__main__":
    sys.exit(serve("Training", train))
