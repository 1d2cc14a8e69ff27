"""Heads trained and tested on features that stay on the disk: blocks of rows in memory, never all of them."""
