"""The page on which a person decides: one HTML document that asks for nothing but the review's own answers."""
