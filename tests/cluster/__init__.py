"""Index runs on a Ray cluster of several machines, which are processes of this one."""
