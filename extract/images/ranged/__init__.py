"""Lists of pictures that are too long to be held: a sparse index, and the rows of a range read when they are asked for."""
