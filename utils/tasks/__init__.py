"""The vault as a reader sees it: what lies where, what happened to it. Nothing here changes a file."""
