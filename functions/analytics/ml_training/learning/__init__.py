"""What is learnt from journeys and from daily spend, over arrays.

Needs numpy and scipy, which the container and the layer ``statistics`` have: imported by nothing that a Lambda without
that layer imports. Everything is deterministic: the same journeys give the same model, bit by bit.
"""
