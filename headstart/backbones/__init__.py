"""The backbones as `headstart models` lists and shows them."""
