"""Names of files and of classes as text, whatever bytes they are of."""
