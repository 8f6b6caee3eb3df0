"""Reading and writing that can be trusted: whole files, checked content, known folders."""
