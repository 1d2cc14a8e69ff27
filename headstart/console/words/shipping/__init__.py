"""What is said of a trained head that goes elsewhere: as a file, and as a service."""
