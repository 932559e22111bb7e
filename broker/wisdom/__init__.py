"""Wisdom Capital: Symphony XTS with key login; the declaration is all there is."""
