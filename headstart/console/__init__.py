"""What the command line shows and how it ends: options, progress, signals, and words for people.

Nothing here opens or writes a terminal: the command line hands in the functions and the stream to write with.
"""
