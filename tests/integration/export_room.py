"""A tenant with conversions and places to which files are brought: the sandbox's receiver, an SFTP server."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncssh
import httpx

from tests.integration.harness import House, local_settings
from tests.integration.sealing import ContextKeys
from tradewind.clock import FixedClock
from tradewind.integrations.couriers import TenantCouriers
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import Done, End, Worker, to_plain
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIGURE, SCHEDULER, EXPORT = (
    "analytics-configure-export",
    "analytics-attribution-export-scheduler",
    "analytics-attribution-export",
)
DUE = datetime(2026, 11, 21, 4, tzinfo=UTC)
"""A daily export of the 20th falls due."""


@dataclass
class ExportRoom:
    """The clock stands at the 20th, noon, before anything is due."""

    house: House
    url: str
    stage: str = "local"
    lasting: timedelta = timedelta(minutes=14)
    clock: FixedClock = field(default_factory=lambda: FixedClock(datetime(2026, 11, 20, 12, tzinfo=UTC)))

    def __post_init__(self) -> None:
        self.vault = CredentialVault(ContextKeys())
        self.place = f"{self.house.tenant_id.hex[:8]}"
        self.settings = local_settings(self.house.urls, TRADEWIND_STAGE=self.stage)
        self.process = dataclasses.replace(self.house.process, settings=self.settings, clock=self.clock)

    def worker(self, task_id: str) -> Worker:
        worker = Worker(REGISTRY.get(task_id), self.process)
        if "payloads" in worker._factories:
            worker._factories["payloads"] = lambda _: self.house.payloads
        if "couriers" in worker._factories:
            worker._factories["couriers"] = lambda scope: TenantCouriers(
                self.settings, scope.tenant, scope.session, self.vault, self.clock
            )
        return worker

    def run(self, task_id: str, payload: Mapping[str, Any], cause: str | None = None, **about: Any) -> End:
        message = self.house.message(
            REGISTRY.get(task_id), payload, cause=cause, accepted_at=self.clock.now(), **about
        )
        return self.worker(task_id).work(message, self.clock.now() + self.lasting)

    def result(self, task_id: str, payload: Mapping[str, Any], cause: str | None = None, **about: Any) -> Any:
        end = self.run(task_id, payload, cause, **about)
        assert isinstance(end, Done), end
        return to_plain(end.result)

    def configure(self, name: str = "daily", **changes: Any) -> Any:
        return self.result(CONFIGURE, {"name": name, "destination": self.webhook(), **changes})

    def webhook(self) -> dict[str, Any]:
        return {"kind": "webhook", "url": f"{self.url}/receiver/{self.place}"}

    def store(self, secrets: Mapping[str, str], name: str = "daily", provider: str = "export") -> None:
        session = Session(self.house.connections)
        with session.transaction(self.house.tenant_id) as tx:
            for each, secret in secrets.items():
                TenantCredentials(self.house.tenant_id, self.vault).put(
                    tx, Label(provider, each, name), secret
                )
        session.settle()
        session.close()

    def tell_place(self, **about: Any) -> None:
        address = f"{self.url}/_sandbox/receiver/places/{self.place}"
        httpx.put(address, json=about).raise_for_status()

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/_sandbox/receiver/places/{self.place}").json()
        return found

    def runs(self, columns: str = "name, state, row_count, attempts, error") -> list[dict[str, Any]]:
        return self.house.query(
            f"SELECT {columns} FROM attribution_export_runs WHERE tenant_id = %s ORDER BY name, due_at",
            self.house.tenant_id,
        )

    def sell(self) -> None:
        """Order 1 (100.00, two touches) and order 2 (30.00, one touch) on the 20th, order 3 on the 19th."""
        for number, cents, day in ((1, 10_000, 20), (2, 3_000, 20), (3, 5_000, 19)):
            self.house.write(
                "INSERT INTO orders (shopify_order_id, order_number, visitor_id, currency, gross_cents, discount_cents,"
                " net_cents, shipping_cents, tax_cents, total_cents, financial_status, status, placed_at,"
                " shopify_updated_at) VALUES (%s, '#', %s, 'USD', %s, 0, %s, 0, 0, %s, 'paid', 'open', %s, now())",
                number,
                f"visitor-{number}",
                cents,
                cents,
                cents,
                datetime(2026, 11, day, 10, tzinfo=UTC),
            )
        touches = [
            (11, 1, "paid", "google", "=cmd|' /C calc'!A0", datetime(2026, 11, 13, 10, tzinfo=UTC)),
            (12, 1, "email", 'news, "weekly"', None, datetime(2026, 11, 20, 9, tzinfo=UTC)),
            (21, 2, "direct", None, None, datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ]
        for number, order, channel, source, campaign, moment in touches:
            self.house.write(
                "INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, channel, source,"
                " campaign, occurred_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                UUID(int=number),
                f"hash-{number}",
                f"visitor-{order}",
                channel,
                source,
                campaign,
                moment,
            )
        about = {"since": "2026-11-01T00:00:00Z"}
        self.result("analytics-attribution-order-reconciliation-manual", about)


@dataclass
class SftpPlace:
    """A server over SFTP: its folder, its address, what was written where; after ``breaks_after`` writes it fails."""

    folder: Path
    port: int = 0
    host_key: str = ""
    writes: int = 0
    breaks_after: int | None = None
    offsets: list[int] = field(default_factory=list)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def config(self, **changes: Any) -> dict[str, Any]:
        return {"kind": "sftp", "host": "127.0.0.1", "port": self.port, "username": "acme", **changes}


class _Login(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("acme", "s3cret")


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpPlace]:
    """asyncssh's own server on a free port of this machine, in a thread."""
    place = SftpPlace(folder)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=str(folder).encode())

        async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
            place.writes += 1
            place.offsets.append(offset)
            if place.breaks_after is not None and place.writes > place.breaks_after:
                raise asyncssh.SFTPConnectionLost("torn")
            written: int = super().write(file_obj, offset, data)  # type: ignore[assignment]
            return written

    key = asyncssh.generate_private_key("ssh-ed25519")
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncssh.create_server(
            _Login, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=Files
        )
        place.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    place.host_key = key.export_public_key("openssh").decode()
    yield place
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()
