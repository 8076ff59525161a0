"""One room per protocol; inside each: wire (bytes and values), session (state), endpoint (sockets, asyncio, logs)."""
