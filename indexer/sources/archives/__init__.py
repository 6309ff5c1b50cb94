"""Archives as folders: what is in them, and the bytes of their members. Child processes open them."""
