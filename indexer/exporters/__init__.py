"""File formats of an export: CSV, JSON Lines, Parquet, COCO."""
