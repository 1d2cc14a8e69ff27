"""Which labels heads give, which of them are wrong, and how far they can be trusted."""
