"""Kafka for asyncio: one thread owns each client, everything else happens on the event loop."""
