"""Exact answers to the convex problems that heads pose. Knows tensors, and no head."""
