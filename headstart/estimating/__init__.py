"""What an extraction would take: shards, bytes, device hours and decoding cores, from measured rates."""
