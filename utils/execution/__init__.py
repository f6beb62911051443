"""Approval and execution: what the human answered, and carrying it out, each answer at most once.

`approvals` takes the answers (`answers`: their values and refusals), `waiting` is what waits for one, `decisions` are
answers written into a note, `revisions` are new drafts, `source_tasks` follow their requests, `change` is what an edit
changed. `notes` is what the files beside requests say, `store` keeps records and journal on disk and `answer_log` the
answers, `journal` is the pure state table, `render` makes a mail out of an approved request, `executor` carries it out,
`filing` shows the result in the vault.
"""
