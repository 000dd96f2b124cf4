"""The provider sandbox: plays the providers over HTTP for development, tests and the demo. See
``__main__``.
"""
