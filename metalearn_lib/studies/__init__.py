"""Studies: what is asked of many runs, a page's questions to a file, and the tables that are made of the answers."""
