"""The parts of `scripts/dev.py`: environment, instances, serving, checks, commands."""
