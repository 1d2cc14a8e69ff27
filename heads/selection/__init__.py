"""Which head, and which of its settings: chosen on training rows alone."""
