"""What helps when the gateway does not: `scripts/rollback.sh`, with the standard library alone.

Nothing of the application is imported, so that it works while the application cannot start, in an
environment without any package, and goes on while the code below it is exchanged. The one module it
shares is `utils.envfile`, which keeps to the same rule; a test holds both to it.
"""
