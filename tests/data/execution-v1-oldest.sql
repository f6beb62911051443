BEGIN TRANSACTION;
CREATE TABLE actions (
    action_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, action TEXT NOT NULL, sha256 TEXT NOT NULL,
    frozen BLOB NOT NULL, source_task TEXT, approved_at TEXT NOT NULL, approved_by TEXT NOT NULL, via TEXT NOT NULL,
    expires_at TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_try_at TEXT,
    started_at TEXT, token TEXT, token_consumed_at TEXT, message_id TEXT NOT NULL DEFAULT '', outcome TEXT,
    outcome_retry INTEGER NOT NULL DEFAULT 0, receipt TEXT, error TEXT NOT NULL DEFAULT '', finished_at TEXT,
    placed INTEGER NOT NULL DEFAULT 0, filed INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "actions" VALUES('4199cef96ab240519e12dae83e8fd250','email-20260601T090000Z-683e6e8b','reply_email','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',X'2D2D2D0A','email-20260601T090000Z-a4c3ed04','2026-06-01T12:00:00Z','anna','api','2026-06-01T13:00:00Z','approved',0,NULL,NULL,NULL,NULL,'',NULL,0,NULL,'',NULL,0,0);
CREATE TABLE doubts (
    path TEXT NOT NULL, sha256 TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (path, sha256)
);
CREATE TABLE events (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, action_id TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,'2026-06-01T12:00:00Z','4199cef96ab240519e12dae83e8fd250','approved','by anna via api');
CREATE TABLE recipients (address TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE seen (
    name TEXT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, source_task TEXT, at TEXT NOT NULL,
    counts INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (name, sha256)
);
INSERT INTO "seen" VALUES('email-20260601T090000Z-683e6e8b','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','Pending_Approval/email/email-20260601T090000Z-683e6e8b.md','email-20260601T090000Z-a4c3ed04','2026-06-01T12:00:00Z',1);
CREATE INDEX seen_by_task ON seen (source_task);
CREATE UNIQUE INDEX one_live_record ON actions (request_id) WHERE state IN ('approved', 'done', 'prepared', 'sending', 'unknown');
CREATE INDEX actions_by_state ON actions (state, filed);
CREATE INDEX events_by_action ON events (action_id);
COMMIT;
PRAGMA user_version = 1;
