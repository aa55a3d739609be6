"""A folder of one's own notes: read, indexed, searched, written. The folder is the truth."""
