"""Who drafts replies."""
