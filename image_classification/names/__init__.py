"""Names of files and classes as text, whatever bytes they consist of."""
