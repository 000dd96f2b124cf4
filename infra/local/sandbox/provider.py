"""What a provider of the sandbox has to offer; each is one package, registered in ``providers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.wire import Reply, Request


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is about, known before it is carried out."""

    account: str
    operation: str
    subject: str = ""


class Provider(Protocol):
    """One provider. ``rest`` is the request's path below the provider's name."""

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        """The call's account, operation and subject."""

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        """Carry the call out: its answer and its cost in the provider's points."""

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:
        """The provider's own words for a fault that is answered: 429, 500 or throttled."""

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        """A control request below ``/_sandbox/{provider}/``. Raises ValueError for a bad one."""

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        """Account -> what is kept for it, for the page."""

    def save(self) -> Any:
        """The state as JSON."""

    def load(self, state: Any) -> None:
        """Take over a saved state."""

    def reset(self) -> None:
        """Forget everything."""
