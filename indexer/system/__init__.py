"""Operating-system helpers: atomic files, signals, safe reading, paths, text. Standard library only."""
