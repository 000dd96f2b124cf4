"""Attribution over arrays: what ``tradewind.contracts.attribution`` says of one order, for a hundred thousand at once.

Needs the layer ``statistics`` (numpy): imported inside the tasks that name it.
"""
