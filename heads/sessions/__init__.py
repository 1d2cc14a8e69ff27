"""A training session: heads trained, tested and kept."""
