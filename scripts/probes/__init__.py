"""Looks from outside, with the standard library: is it well, does it work, is the host as it should
be. What `health_check.sh`, `smoke_test.sh` and `verify_infrastructure.sh` run; nothing here changes
anything, and nothing places an order.
"""
