"""Files on servers: buckets of object storage, and web servers."""
