"""What is said of files that leave headstart."""
