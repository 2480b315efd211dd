"""A batch run: many rows from files to files, all of them or none, resumable at any instant."""
