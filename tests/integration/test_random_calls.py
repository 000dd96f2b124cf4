"""Ten thousand random calls of two tenants, with each other's ids, over the same connections, Valkey and threads.

Some are killed in the middle. All along: nothing of who did not act has changed, and whatever was read is the actor's.
The seed is printed; ``ISOLATION_SEED`` repeats its calls.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infra.local import PostgresServer, ValkeyServer
from tests.conftest import ROOT
from tests.fakes import FakeShopify
from tests.integration.belongings import MADE, payloads
from tests.integration.harness import printed
from tests.integration.office import OPERATIONS, Office, body_for
from tests.integration.sealing import ContextKeys
from tests.integration.test_repository_isolation import METHODS
from tests.integration.twins import Twins, mark, own_texts
from tests.integration.world import OURS, THEIRS, Table, World
from tradewind.errors import CredentialsRejectedError, TradewindError
from tradewind.ratelimit import Bucket, RateLimiter, connect
from tradewind.tasks.registry import discover
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import QueryError, Session

ERAS, CALLS_AN_ERA, THREADS = 100, 100, 4
BYSTANDER = 3
"""A tenant that never acts and whose ids both others use."""
NAMES = {OURS: "acme", THEIRS: "bolt", BYSTANDER: "carl"}
WEIGHTS = {"method": 62, "task": 8, "endpoint": 8, "credential": 12, "limit": 10}
CAPACITY = 1_000_000
TASKS = [task for task in discover(ROOT / "functions") if task.scope == "tenant"]


class KilledError(BaseException):
    """The end of a process in the middle of its work: nothing may catch it."""


@dataclass(frozen=True, slots=True)
class Call:
    kind: str
    choice: int
    actor: int
    ids: int
    """Whose identifiers it uses."""
    killed: bool

    @property
    def tenant_id(self) -> UUID:
        return UUID(int=self.actor)


def draw(chance: random.Random, actor: int | None) -> Call:
    """A call of ``actor``, or of either tenant; every third with ids of its own, one in twelve is killed."""
    acting = actor or chance.choice((OURS, THEIRS))
    [kind] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
    ids = chance.choice([acting, *({OURS, THEIRS, BYSTANDER} - {acting})])
    return Call(kind, chance.randrange(10**6), acting, ids, chance.random() < 1 / 12)


class Shop(FakeShopify):
    """A shop during whose calls the process may die."""

    dying = threading.local()

    def _called(self, name: str) -> None:
        if getattr(self.dying, "now", False):
            raise KilledError
        super()._called(name)


@dataclass
class Town:
    """Three tenants' house, office, vault and limiter."""

    twins: Twins
    office: Office
    limiter: RateLimiter
    mark: str = field(default_factory=lambda: uuid4().hex)
    vault: CredentialVault = field(default_factory=lambda: CredentialVault(ContextKeys()))
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.acts: Mapping[str, Callable[[Call], object]] = {
            "method": self.method,
            "task": self.task,
            "endpoint": self.endpoint,
            "credential": self.credential,
            "limit": self.limit,
        }
        for tenant_id, shop in self.twins.shops.items():
            self.twins.shops[tenant_id] = Shop(orders=shop.orders)

    def act(self, call: Call) -> None:
        """One call, whose answer must tell nothing of another tenant."""
        try:
            told, outcome = repr(self.acts[call.kind](call)), "done"
        except KilledError:
            told, outcome = "", "killed"
        except (TradewindError, QueryError) as error:
            told, outcome = repr(error), "refused"
        for number in {*NAMES} - {call.actor}:
            assert str(UUID(int=number)) not in told, call
            assert own_texts(number) not in told, call
        with self.lock:
            self.outcomes[call.kind, outcome] += 1

    def method(self, call: Call) -> object:
        method = METHODS[call.choice % len(METHODS)].values[0]
        session = Session(self.twins.connections)
        try:
            with session.transaction(call.tenant_id) as transaction:
                found = method.call(transaction, call.ids)  # type: ignore[union-attr]
                seen = transaction.fetch_all("SELECT DISTINCT tenant_id FROM orders")
                assert seen in ([], [{"tenant_id": call.tenant_id}])
                if call.killed:
                    raise KilledError
            session.settle()
            return found
        finally:
            session.close()

    def task(self, call: Call) -> object:
        task = TASKS[call.choice % len(TASKS)]
        offered = list(payloads(task.payload, call.ids))
        payload = offered[call.choice // len(TASKS) % len(offered)]
        Shop.dying.now = call.killed
        try:
            if call.choice % 2:
                return self.twins.invoke(call.tenant_id, task, payload)
            return self.twins.work(task, self.twins.message(call.tenant_id, task, payload, call.ids))
        finally:
            Shop.dying.now = False

    def endpoint(self, call: Call) -> object:
        operation = OPERATIONS[call.choice % len(OPERATIONS)]
        run_id = UUID(int=MADE + call.ids)
        about = (operation, NAMES[call.actor], body_for(operation, call.ids))
        return self.office.ask(*about, run_id, key=f"request-{call.choice % 50}")

    def credential(self, call: Call) -> object:
        """Store and read a secret; one that was sealed for another opens for nobody else."""
        label = Label("resend", f"token-{call.choice % 5}")
        secret = f"{own_texts(call.actor)}secret"
        session = Session(self.twins.connections)
        try:
            with session.transaction(call.tenant_id) as transaction:
                own = TenantCredentials(call.tenant_id, self.vault)
                own.put(transaction, label, secret)
                if call.killed:
                    raise KilledError
                assert own.get(transaction, label).secret == secret
            session.settle()
        finally:
            session.close()
        other = UUID(int=call.ids)
        sealed = self.vault.seal(other, label, f"{own_texts(call.ids)}secret")
        assert self.vault.open(other, label, sealed) == f"{own_texts(call.ids)}secret"
        if call.ids != call.actor:
            with pytest.raises(CredentialsRejectedError):
                self.vault.open(call.tenant_id, label, sealed)
        return secret

    def limit(self, call: Call) -> object:
        """A token of the actor's own bucket."""
        wait, _ = self.limiter.try_take([Bucket(self.bucket(call.actor), CAPACITY, 1e-9)])
        assert not wait
        with self.lock:
            self.taken[call.actor] += 1
        return wait

    def bucket(self, number: int) -> str:
        return f"rate:{{random:{self.mark}:{number}}}:points"

    def mend(self, number: int) -> None:
        """Bring a tenant back whom its own calls have deleted or sent away."""
        world, tenant_id = self.twins.world, UUID(int=number)
        [found] = world.read(
            "SELECT (SELECT status FROM tenants WHERE tenant_id = %s) AS status,"
            " (SELECT count(*) FROM orders WHERE tenant_id = %s) AS orders,"
            " (SELECT count(*) FROM shopify_app_installations WHERE tenant_id = %s AND status = 'installed') AS shops",
            *[tenant_id] * 3,
        )
        if (found["status"], found["shops"]) == ("active", 1) and found["orders"]:
            return
        with psycopg.connect(world.urls.platform) as platform:
            platform.execute(
                "INSERT INTO tenants (tenant_id, slug, name) VALUES (%s, %s, 'T')"
                " ON CONFLICT (tenant_id) DO UPDATE SET status = 'active', slug = excluded.slug",
                (tenant_id, f"t-{number}"),
            )
        with world.bound(tenant_id, keep=True) as app:
            for name in reversed(world.order):
                if name != "tenants":
                    app.execute(f"DELETE FROM {name}".encode())
            for name in world.order:
                if name != "tenants":
                    world.insert(app, name, world.row(name, tenant_id, number))
        mark(world, tenant_id, number)
        self.office.tokens[NAMES[number]] = self.office.key(number)

    def connections_are_clean(self) -> bool:
        """Whatever has ended badly: no idle connection is bound to a tenant or inside a transaction."""
        for pool in (self.twins.connections, self.office.connections):
            for _, connection in pool._idle:
                row = connection.execute(
                    "SELECT coalesce(current_setting('app.tenant_id', true), '') AS x"
                ).fetchone()
                if (
                    row != {"x": ""}
                    or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
                ):
                    return False
        return True


@pytest.fixture
def town(
    postgres: PostgresServer, filled: tuple[str, Mapping[str, Table]], valkey: ValkeyServer
) -> Iterator[Town]:
    name = f"town_{uuid4().hex[:12]}"
    world = World(postgres.create_database(name, template=filled[0]))
    world.fill(UUID(int=BYSTANDER), BYSTANDER)
    mark(world, UUID(int=BYSTANDER), BYSTANDER)
    store = connect(valkey.url)
    built = Town(Twins(world), Office(world), RateLimiter(store))
    yield built
    for number in NAMES:
        store.delete(built.bucket(number))
    store.close()
    built.office.connections.close()
    built.twins.close()
    postgres.drop_database(name)


def test_ten_thousand_random_calls_keep_every_tenant_to_itself(town: Town) -> None:
    seed = int(os.environ.get("ISOLATION_SEED") or random.SystemRandom().randrange(10**9))
    print(f"ISOLATION_SEED={seed}")
    chance = random.Random(seed)
    world = town.twins.world

    def live() -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in range(ERAS):
                actor = chance.choice((OURS, THEIRS, None))
                calls = [draw(chance, actor) for _ in range(CALLS_AN_ERA)]
                for number in (OURS, THEIRS):
                    town.mend(number)
                idle = [
                    UUID(int=number) for number in NAMES if number == BYSTANDER or actor not in (None, number)
                ]
                before = [world.fingerprint(each) for each in idle]
                list(threads.map(town.act, calls))
                assert [world.fingerprint(each) for each in idle] == before, f"seed {seed}, {actor} acted"
                assert town.connections_are_clean()

    lines = printed(live)
    assert town.outcomes.total() == ERAS * CALLS_AN_ERA == 10_000
    for kind in WEIGHTS:
        assert town.outcomes[kind, "done"] > 0.5 * sum(
            town.outcomes[kind, end] for end in ("done", "refused", "killed")
        )
    assert min(town.outcomes[kind, "killed"] for kind in ("method", "task", "credential")) > 0
    for number, taken in town.taken.items():
        level = town.limiter._store.eval(
            "return redis.call('HGET', KEYS[1], 'level')", 1, town.bucket(number)
        )
        assert (CAPACITY - taken) * 1_000_000 - int(level) <= taken + 1
        assert int(level) <= (CAPACITY - taken) * 1_000_000 + 1
    check_lines(lines)


def check_lines(lines: list[dict[str, Any]]) -> None:
    """Each line with a tenant tells nothing of another one."""
    told = Counter(line["tenant_id"] for line in lines if "tenant_id" in line)
    assert set(told) == {str(UUID(int=number)) for number in (OURS, THEIRS)}
    for line in lines:
        for number in NAMES:
            if line.get("tenant_id") != str(UUID(int=number)):
                assert own_texts(number) not in repr(line)
                assert "tenant_id" not in line or str(UUID(int=number)) not in repr(line)
