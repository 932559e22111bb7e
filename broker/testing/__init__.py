"""What an author of a broker package needs for tests: a clock to turn by hand, and the cards."""
