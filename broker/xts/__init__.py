"""Symphony XTS, written once for every broker that speaks it.

A broker is a declaration (`profile.XtsProfile`) on top of this package: hosts, segments, client-id
rules and limits are data; login kinds, position modes and dealer rules are named strategies that a
declaration selects. Start reading at `broker.py`; no XTS name leaves this package.
"""
