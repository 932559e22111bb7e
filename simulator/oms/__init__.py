"""The simulated order management system: orders, matching, positions, margin and books."""
