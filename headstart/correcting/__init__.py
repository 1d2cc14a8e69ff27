"""Labels that people corrected, for the commands that take `--corrections FILE`."""
