"""The files that a head and its backbone become, and what stands in them beside the numbers."""
