//! What can be learned from the text of a statement: comment tags, shape, and what may be shown of it.
