"""A network on a device: precision, engines, batches, worker threads, memory."""
