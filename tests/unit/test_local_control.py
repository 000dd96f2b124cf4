"""What is asked of a running cloud's supervisor arrives whole and in order, until whoever asked is gone."""

from __future__ import annotations

import socket

import pytest

from infra.local.control import Action, Order, read_orders


def test_orders_arrive_in_order_until_the_other_side_is_gone() -> None:
    asking, obeying = socket.socketpair()
    given = [Order(Action.HALT, "postgres"), Order(Action.RESUME, "postgres"), Order(Action.DETACH)]
    with obeying:
        with asking:
            # In pieces, as a socket may deliver them.
            text = b"".join(order.encode() for order in given)
            for at in range(0, len(text), 7):
                asking.sendall(text[at : at + 7])
        assert list(read_orders(obeying)) == given


def test_an_unknown_action_is_refused() -> None:
    asking, obeying = socket.socketpair()
    with obeying:
        with asking:
            asking.sendall(b'{"action": "explode", "program": ""}\n')
        with pytest.raises(ValueError, match="explode"):
            list(read_orders(obeying))
