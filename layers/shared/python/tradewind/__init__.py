"""Tradewind's kernel: what every task stands on. Domain rules live in ``functions/``, never here."""
