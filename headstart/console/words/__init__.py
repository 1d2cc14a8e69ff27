"""What the command line says of results: text for people, and JSON values, each made from a join's dataclasses."""
