"""Pictures to labels, many requests at once: decoded by threads, computed in batches of what is waiting. Knows no HTTP."""
