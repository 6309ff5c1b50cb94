"""Image sources. There are two: folders and archives of the file system, scanned or watched, and buckets."""
