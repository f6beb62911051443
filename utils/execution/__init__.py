"""Approval and execution: what the human answered, and carrying it out, each answer at most once.

`approvals` holds the questions and answers (`answers`: their values and refusals), `notes` is what the files beside
requests say, `store` keeps records and journal on disk, `journal` is the pure state table, `render` makes a mail out
of an approved request, `executor` carries it out, `filing` shows the result in the vault.
"""
