from __future__ import annotations

from infra.local.ports import free_port


def test_no_port_is_given_twice_before_its_program_listens() -> None:
    assert len({free_port() for _ in range(1_500)}) == 1_500
