"""What the tests share: the server under test, a throw-away PostgreSQL, the clients, and bytes to store."""
