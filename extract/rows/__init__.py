"""The rows of a set: looked for among those that are kept, copied, computed."""
