"""The reference app: orders that are placed, paid, shipped or cancelled, and tell others of it."""
