"""The published study in steps, each of which is kept, and the plan of what is still to do."""
