"""Whether two pictures show the same, by their pixels."""
