"""Readers of formats that Pillow does not read. Each module has one function, `open_image`."""
