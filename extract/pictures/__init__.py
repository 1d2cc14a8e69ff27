"""Picture files: which are taken, how their bytes are read, and how they become pixels."""
