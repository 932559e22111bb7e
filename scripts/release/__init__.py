"""How a version comes into service: `scripts/deploy.sh`, with the standard library alone.

It shares the description of an installation, its code and its service with `scripts.rescue`, so
that what is deployed is what can be taken back.
"""
