"""Strategies in the recommended form: a pure function that decides, a thin runner that trades."""
