"""From notebooks to a book: papermill runs them, Sphinx shows what they left, and nothing stale passes."""
