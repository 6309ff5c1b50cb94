"""Image sources. At present there is one: folders of the file system, scanned or watched."""
