"""Features with the labels that people corrected."""
