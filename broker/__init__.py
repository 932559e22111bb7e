"""Broker adapters as a library: typed models, errors, transport, pacing and the packages per broker.

Nothing in here knows Flask, a database or a settings file. What an adapter needs (credentials,
clock, slot storage, observers) is handed to it, so that it also runs in a notebook or inside
another platform.
"""
