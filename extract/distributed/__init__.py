"""One job in several processes: what a worker is told, what it does, and the driver that hands out the shards."""
