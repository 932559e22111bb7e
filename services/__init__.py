"""What the application does, free of HTTP: orders, books, accounts, sessions, symbols, jobs."""
