"""The demo: orders placed over HTTP, a worker killed, and an account of every event."""
