"""The analysis of one image: decode, detect faces, crop them, classify."""
