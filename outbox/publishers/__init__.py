"""Publishers: the port to the broker, and what stands behind it."""
