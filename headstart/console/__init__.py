"""What the command line shows and how it ends: words for people, options, progress and signals.

Nothing here opens or writes a terminal: the command line hands in the functions and the stream to write with.
"""
