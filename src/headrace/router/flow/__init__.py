"""When a request may go: the queue in front of each pool."""
