"""What may be wrong with a data set whose features are kept, and the pictures most like one."""
