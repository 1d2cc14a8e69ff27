"""Which engine and batch size a run is computed with: what is asked for, and trials for what is left open."""
