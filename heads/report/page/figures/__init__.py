"""The report's figures, drawn by matplotlib as SVG for a page that may be light or dark.

Each takes a `key` that no other figure on the page has, and `order`, the list of all models: models keep their colour and
marker from figure to figure. A function gives an empty text where there is nothing to draw.
"""
