"""Detection of drawn faces: the network, the decoding of its outputs into boxes, and the detector on a device."""
