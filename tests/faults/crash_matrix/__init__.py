"""The crash matrix: batch runs killed, on broken and full disks, and after a loss of power.

`python -m crash_matrix`, with this folder's parent on the path, tries all of it and prints what
came of it; `make crash-matrix` does that.

- Faults that a process lives through or dies of: `calls` and `points` say which there are, `trial`
  and `limits` let them happen.
- Power loss: `histories` records runs as `operations`, `power_loss` says what may be on the disk
  then, `recovery` resumes from it, `survey` does all of it.
- `scene` has what both need, `table` and `page` show it; `child` and `reader` are scripts.
"""
