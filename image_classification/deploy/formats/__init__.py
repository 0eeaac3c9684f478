"""What an export writes for other programs, a file per format."""
