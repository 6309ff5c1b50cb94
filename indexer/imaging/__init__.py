"""Bytes to pixels: decoding in child processes, resizing, thumbnails."""
