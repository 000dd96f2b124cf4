"""What a stage costs: its templates, a model of an order's traffic, measured durations, and dated prices."""
