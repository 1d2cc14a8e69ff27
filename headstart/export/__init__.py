"""A trained head with its backbone as one file that runs without headstart, checked before it is written."""
