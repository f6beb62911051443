"""Approval and execution: what the human answered, and carrying it out, each answer at most once.

`approvals` holds the questions and answers, `store` keeps records and journal on disk, `journal` is the pure state
table, `render` makes a mail out of an approved request, `executor` carries it out, `filing` shows the result
in the vault.
"""
