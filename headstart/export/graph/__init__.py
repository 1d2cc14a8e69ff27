"""Pictures to probabilities as one torch module, which can be exported: every size is known to the graph alone."""
