"""Broker adapters as a library: models, errors, transport, pacing and a package per broker.

Nothing in here knows Flask, a database or a settings file. What an adapter needs (credentials,
clock, slot storage, observers) is handed to it, so that it also runs in a notebook or inside
another platform.
"""
