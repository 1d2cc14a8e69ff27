"""What is said of audits and of similar pictures."""

from headstart.console.words.auditing import audits, similar

__all__ = ["audits", "similar"]
