"""What runs, in which order, and where it stopped: plan, engine, commit, resume, report."""
