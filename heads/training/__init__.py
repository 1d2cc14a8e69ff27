"""From rows to trained heads: optimisation, groups of heads, threads."""
