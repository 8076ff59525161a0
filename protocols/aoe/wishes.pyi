"""Commands that wait: cold reads, writes and flushes among the workers. Nothing of it is for Python."""
