"""The demo: orders over HTTP, worker and consumer killed, and an account of what became of it."""
