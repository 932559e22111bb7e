"""The HTTP surface of the simulator, one module per service of the XTS reference."""
