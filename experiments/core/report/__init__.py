"""What a person reads: the page, the index of pages, the table in the terminal."""
