"""The parts of a sync: gather what changed here, judge what arrives, apply what was decided, recover from a crash.

`utils.vault_sync` puts them together; the decision itself is `utils.core.merge`.
"""
