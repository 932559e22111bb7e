"""Jainam Prop: Symphony XTS on the clusters A, B and C; the declaration is all there is."""
