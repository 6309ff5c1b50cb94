"""Image sources. At present there is one: folders and archives of the file system, scanned or watched."""
