"""Trained heads behind their backbones: which ones are meant, the labels that they give pictures, and how fast."""
