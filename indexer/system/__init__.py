"""Operating-system functions: atomic files, signals, safe reading, paths, text."""
