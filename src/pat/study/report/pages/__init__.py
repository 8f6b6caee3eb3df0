"""The pages and parts of pages that are written from records, one module each."""
