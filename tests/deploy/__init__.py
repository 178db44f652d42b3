"""The files that build an image and install it."""
