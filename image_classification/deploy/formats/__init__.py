"""Writers of the export formats, a file per format."""
