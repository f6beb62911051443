"""Where the vault's files are touched: folders, durable writes, locks, JSONL logs, front matter."""
