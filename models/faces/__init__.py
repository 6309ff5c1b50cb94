"""Finding drawn faces: the network, and what turns its maps into boxes."""
