"""What the owner of the pictures asks first: the best head, all heads, and what was found."""
