"""The crash matrix: batch runs disturbed at every durable step and every file-system call.

`python -m crash_matrix`, with this folder's parent on the path, tries every point and prints what
came of it; `make crash-matrix` does that. `calls`, `points` and `table` decide; `scene`, `trial`
and the scripts `child` and `reader` act.
"""
