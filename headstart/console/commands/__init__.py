"""Commands apart from those of the main road, a file for each group of them. What they say is printed by `cli.py`."""
