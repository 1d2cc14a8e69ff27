"""From feature sets to trained heads: rows, samples, optimisation, sessions."""
