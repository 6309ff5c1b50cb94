"""Where images come from. Today: folders of the file system, scanned or watched."""
