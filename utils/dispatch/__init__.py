"""Who does what lies in the vault: drops in the Inbox become tasks, tasks go to the handler of their type."""
