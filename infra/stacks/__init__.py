"""The stacks. None imports from another: names are derived, and what only a deployment knows travels by
SSM.
"""
