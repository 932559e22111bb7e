"""Instruments, prices, quotes and history of the simulated exchange (shared by all profiles)."""
