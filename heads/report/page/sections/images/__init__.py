"""Pictures: photographs, preprocessing and maps of the features."""
