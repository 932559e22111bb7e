"""Measures the gateway against a bare forwarding route: `make bench` (`python -m benchmarks`)."""
