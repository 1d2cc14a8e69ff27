"""Features at rest: the HDF5 layout, the key, atomic writes, verification. Knows no torch, no images, no heads."""
