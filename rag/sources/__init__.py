"""Reading articles from files: listing a source, parsing every supported format, and isolating parsers.

The package turns the files of a folder into `Article` and `Skipped` values. It knows neither the index
nor a model; which files have to be read again is decided in `rag.indexing`.
"""
