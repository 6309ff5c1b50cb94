"""Bytes to pixels: decoding, resizing, thumbnails, and the processes that images are decoded in."""
