"""From records to the book: notebooks, facts, pages, the built site."""
