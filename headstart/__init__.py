"""What joins the rooms: images and heads, for the command line and whoever else needs both. Prints nothing."""
