"""The pictures that kept features were made of, where they can still be opened."""
