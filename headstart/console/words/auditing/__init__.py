"""What is said of audits, of similar pictures and of reviews."""

from headstart.console.words.auditing import audits, reviews, similar

__all__ = ["audits", "reviews", "similar"]
