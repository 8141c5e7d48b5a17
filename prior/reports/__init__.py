"""Report text: sections, sentences and tokens, with character offsets into the report."""
