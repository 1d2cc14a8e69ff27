"""The page's sections, one file each."""
