"""Training that runs inside a page: printed from the library's own inner step, drawn by one front end."""
