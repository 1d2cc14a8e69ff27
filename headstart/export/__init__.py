"""Trained heads with their backbones as files that run without headstart, and what is said of them."""
