"""What training depends on: seeds, epochs, numbers of images, settings; and how long it takes."""
