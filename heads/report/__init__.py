"""Runs compared: tables, Markdown, CSV, JSON and the page."""
