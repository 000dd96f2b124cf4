"""Start every program of the local cloud, as far as possible side by side, and deploy the app into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from infra.local import deployment, paths
from infra.local.console import WebProgram, sandbox_exists, start_console, start_sandbox
from infra.local.containers import CONTAINER_STACK, start_agent
from infra.local.deployment import Addresses
from infra.local.ministack import ACCOUNT, REGION, MiniStack, start_ministack
from infra.local.ports import HOST, choose_port
from infra.local.postgres import Access, PostgresServer, start_postgres
from infra.local.preloading import Preloading
from infra.local.processes import Launcher, Process, StopAskedError
from infra.local.progress import Listener, Step, StepState
from infra.local.state import State
from infra.local.valkey import ValkeyServer, start_valkey

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ports:
    """One port a program. Each can be asked for by a variable; otherwise a free one is taken."""

    gateway: int
    database: int
    redis: int
    sandbox: int
    console: int

    @classmethod
    def choose(cls) -> Ports:
        """Raises PortTakenError and PortInvalidError."""
        return cls(
            gateway=choose_port("TRADEWIND_PORT"),
            database=choose_port("TRADEWIND_DATABASE_PORT"),
            redis=choose_port("TRADEWIND_REDIS_PORT"),
            sandbox=choose_port("TRADEWIND_SANDBOX_PORT"),
            console=choose_port("TRADEWIND_CONSOLE_PORT"),
        )


@dataclass(slots=True)
class Startup:
    """One start. `abandon` makes every wait of the launcher end; `processes` grows as programs get ready."""

    ports: Ports
    access: Access
    launcher: Launcher
    listener: Listener
    abandon: Callable[[], None]
    domains: Sequence[str] | None
    authorize: bool
    processes: dict[str, Process] = field(default_factory=dict)
    ready: dict[str, Callable[[], bool]] = field(default_factory=dict)
    trial: Mapping[str, str] | None = None
    preloading: Preloading = field(default_factory=Preloading)

    def run(self) -> State:
        """Start everything; returns when the app is deployed and its schema migrated.

        Raises what the first failing step raises, after every other step has ended; the programs that were
        ready then still run.
        """
        with ThreadPoolExecutor(max_workers=9) as pool:
            emulator = pool.submit(self._step, "AWS emulator", self._emulator)
            steps: list[Future[Any]] = [
                emulator,
                pool.submit(self._step, "PostgreSQL", self._postgres),
                pool.submit(self._step, "Valkey", self._valkey),
                pool.submit(self._step, "synthesis", self._synthesize),
                pool.submit(self._bootstrap_when_ready, emulator),
                pool.submit(self._step, "console", self._console),
            ]
            if self.preloading.is_possible():
                steps.append(pool.submit(self._step, "preloader", self._preloader))
            if sandbox_exists():
                steps.append(pool.submit(self._step, "provider sandbox", self._sandbox))
            self._gather(steps)
        self._step("deployment", lambda: self._deploy(emulator.result()))
        self._step("migrations", lambda: deployment.migrate(emulator.result()))
        if CONTAINER_STACK in deployment.chosen_stacks(self.domains):
            self._containers()
        return self._state(emulator.result())

    def _gather(self, steps: Sequence[Future[Any]]) -> None:
        ended, _ = wait(steps, return_when=FIRST_EXCEPTION)
        failures = [failure for step in ended if (failure := step.exception()) is not None]
        if failures:
            self.abandon()
            # The others end as stopped: the cause is what is not.
            causes = [failure for failure in failures if not isinstance(failure, StopAskedError)]
            raise (causes or failures)[0]

    def _step(self, name: str, action: Callable[[], Result]) -> Result:
        started = time.monotonic()
        self.listener(Step(name, StepState.STARTED))
        result = action()
        self.listener(Step(name, StepState.DONE, time.monotonic() - started))
        return result

    def _emulator(self) -> MiniStack:
        folder, log = paths.CLOUD / "ministack", paths.LOGS / "ministack.log"
        server = start_ministack(
            folder,
            log,
            self.ports.gateway,
            self.launcher,
            authorize=self.authorize,
            keep_state=self.trial is not None,
            functions=self.preloading.environment(),
        )
        self._note("ministack", server.process, server.is_ready)
        return server

    def _preloader(self) -> Process:
        folder, log = paths.CLOUD / "preloader", paths.LOGS / "preloader.log"
        process = self.preloading.start(folder, log, self.launcher)
        self._note("preloader", process, self.preloading.is_ready)
        return process

    def _postgres(self) -> PostgresServer:
        folder, log = paths.CLOUD / "postgres", paths.LOGS / "postgres.log"
        server = start_postgres(folder, log, self.access, self.launcher)
        self._note("postgres", server.process, server.is_ready)
        return server

    def _valkey(self) -> ValkeyServer:
        folder, log = paths.CLOUD / "valkey", paths.LOGS / "valkey.log"
        server = start_valkey(folder, log, self.ports.redis, self.launcher)
        self._note("valkey", server.process, server.is_serving)
        return server

    def _sandbox(self) -> WebProgram:
        folder, log = paths.CLOUD / "sandbox", paths.LOGS / "sandbox.log"
        program = start_sandbox(folder, log, self.ports.sandbox, self.launcher)
        self._note("sandbox", program.process, program.is_ready)
        return program

    def _console(self) -> WebProgram:
        folder, log = paths.CLOUD / "console", paths.LOGS / "console.log"
        program = start_console(folder, log, self.ports.console, self._url(self.ports.gateway), self.launcher)
        self._note("console", program.process, program.is_ready)
        return program

    def _containers(self) -> None:
        folder, log = paths.CLOUD / "containers", paths.LOGS / "containers.log"
        process = start_agent(folder, log, self._url(self.ports.gateway), self.launcher)
        self._note("containers", process, lambda: process.exit_code() is None)

    def _note(self, name: str, process: Process, is_ready: Callable[[], bool]) -> None:
        self.processes[name] = process
        self.ready[name] = is_ready

    def _synthesize(self) -> None:
        urls = self.access.urls()
        addresses = Addresses(
            app_database_url=urls.app,
            platform_database_url=urls.platform,
            owner_database_url=urls.owner,
            redis_url=self._redis_url(),
            sandbox_url=self._url(self.ports.sandbox),
            aws_endpoint_url=self._url(self.ports.gateway),
        )
        chosen = {"TRADEWIND_LOCAL_DOMAINS": ",".join(self.domains)} if self.domains else {}
        deployment.synthesize(addresses, self.launcher, {**chosen, **(self.trial or {})})

    def _bootstrap_when_ready(self, emulator: Future[MiniStack]) -> None:
        server = emulator.result()
        self._step("bootstrap", lambda: deployment.bootstrap(server, self.launcher))

    def _deploy(self, emulator: MiniStack) -> None:
        started = time.monotonic()
        told = ""

        def report(done: int, stacks: int) -> None:
            nonlocal told
            detail = f"{done} of {stacks} stacks"
            if detail != told:
                told = detail
                self.listener(Step("deployment", StepState.ADVANCED, time.monotonic() - started, detail))

        deployment.deploy(emulator, self.launcher, self.domains, report)

    def _state(self, emulator: MiniStack) -> State:
        urls = self.access.urls()
        return State(
            webhook_url=deployment.webhook_url(emulator),
            aws_endpoint_url=emulator.endpoint_url,
            region=REGION,
            account=ACCOUNT,
            database_url=urls.reader,
            app_database_url=urls.app,
            platform_database_url=urls.platform,
            owner_database_url=urls.owner,
            redis_url=self._redis_url(),
            sandbox_url=self._url(self.ports.sandbox),
            console_url=self._url(self.ports.console),
            pids={name: process.pid for name, process in self.processes.items()},
        )

    def _redis_url(self) -> str:
        return f"redis://{HOST}:{self.ports.redis}/0"

    @staticmethod
    def _url(port: int) -> str:
        return f"http://{HOST}:{port}"
