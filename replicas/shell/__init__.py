"""What drives an engine on an event loop, without any transport: both worlds run this."""
