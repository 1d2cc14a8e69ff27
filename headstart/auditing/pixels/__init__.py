"""Pictures looked at by their pixels: two that are alike, and one by itself."""
