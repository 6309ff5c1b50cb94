"""What happens to one image: decode, detect faces, crop them, classify."""
