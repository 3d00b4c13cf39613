"""Tables and figures from finished runs. A study reads results and never trains."""
