"""Detection of drawn faces: the network, and the decoding of its maps into boxes."""
