"""
The ledger's tables, in the order in which they came to be; `schema` applies them.

    runs 1--n attempts n--1 requests 1--n tasks          one task wants one request; equal tasks share it
                        requests 1--n raws               the pictures that were sold, by content
                        tasks    1--n outputs            the files that were delivered

                        tasks    1--n waiting            tasks that start from a picture which is not there yet
                        tasks    1--n decisions          what people have said about a task's pictures
                        tasks    1--n wishes             how people want a task's pictures made again
                        tasks    1--n overrides          prompts that re-edits have put in place of the manifest's
                        outputs  n--n comparisons        which variant of an item somebody liked best
                        outputs  1--n checks             what local checks have found about a delivered file
                        recipes  1--n tasks, outputs     what a delivered file is made from its raw with
                        renders                          the files that were made so, before they get their names

                        paces                            the provider's rate limits, as far as they were found
                        digests                          the pictures on this machine that runs have read
                        job_starts, job_warnings         starts of jobs, and warnings about their limits

                        v_*                              views for others; see `ledger.views`

Amounts are whole micro-dollars, times ISO 8601 in UTC. The words for states are those of `lifecycle.State`; a test
compares them.
"""

INITIAL = """
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  chain INTEGER NOT NULL,                  -- the first of the runs that this one continues; its own id if none
  started_at TEXT NOT NULL,
  ended_at TEXT,                           -- NULL while it goes on, and for ever if it was killed
  manifest TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  program TEXT NOT NULL,
  price_list TEXT NOT NULL,
  budget_microusd INTEGER CHECK (budget_microusd >= 0),
  exit_code INTEGER,
  stop_reason TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE requests (
  key TEXT PRIMARY KEY,
  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN
    ('pending', 'sending', 'accepted', 'fetching', 'unknown', 'done', 'failed', 'suspect', 'lost')),
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  quality TEXT NOT NULL,
  size TEXT NOT NULL,
  format TEXT NOT NULL,
  samples INTEGER NOT NULL CHECK (samples BETWEEN 1 AND 10),
  revision INTEGER NOT NULL DEFAULT 1 CHECK (revision >= 1),
  spec TEXT NOT NULL,                      -- canonical JSON of what is bought, without signatures
  buyer_slot TEXT NOT NULL,                -- the task that bears the cost; equal tasks share it for nothing
  client_ref TEXT NOT NULL UNIQUE,
  generation INTEGER NOT NULL DEFAULT 1 CHECK (generation >= 1),
  counted INTEGER NOT NULL DEFAULT 0 CHECK (counted >= 0),
  quote_low_microusd INTEGER NOT NULL CHECK (quote_low_microusd >= 0),
  quote_high_microusd INTEGER NOT NULL CHECK (quote_high_microusd >= quote_low_microusd),
  not_before TEXT,
  retryable INTEGER NOT NULL DEFAULT 1 CHECK (retryable IN (0, 1)),
  reason TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '',
  wanted_by INTEGER NOT NULL REFERENCES runs (id),
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL
) STRICT;
CREATE INDEX requests_not_finished ON requests (state, wanted_by)
  WHERE state IN ('pending', 'sending', 'accepted', 'fetching', 'unknown');

CREATE TABLE tasks (
  slot TEXT PRIMARY KEY,
  item_id TEXT NOT NULL,
  edit TEXT NOT NULL,
  variant TEXT NOT NULL,
  request_key TEXT NOT NULL REFERENCES requests (key),
  labels TEXT NOT NULL,                    -- JSON object
  place TEXT NOT NULL,
  paths TEXT NOT NULL,                     -- JSON list: where its pictures shall go
  revision INTEGER NOT NULL DEFAULT 1 CHECK (revision >= 1),  -- the one that is wanted
  wanted_by INTEGER NOT NULL REFERENCES runs (id),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_request ON tasks (request_key);

CREATE TABLE attempts (
  id INTEGER PRIMARY KEY,
  request_key TEXT NOT NULL REFERENCES requests (key),
  number INTEGER NOT NULL CHECK (number >= 1),
  run_id INTEGER NOT NULL REFERENCES runs (id),
  scope TEXT NOT NULL,                     -- where it was sent: the provider's origin and organisation
  key_print TEXT NOT NULL,                 -- fingerprint of the key that sent it, of use in this ledger only
  findable INTEGER NOT NULL CHECK (findable IN (0, 1)),  -- the provider's list knows our reference
  generation INTEGER NOT NULL,
  idempotency_key TEXT NOT NULL,
  body_sha256 TEXT NOT NULL,
  reserved_microusd INTEGER NOT NULL CHECK (reserved_microusd >= 0),
  started_at TEXT NOT NULL,
  accepted_at TEXT,
  ended_at TEXT,
  outcome TEXT CHECK (outcome IN
    ('done', 'suspect', 'lost', 'not sent', 'throttled', 'unavailable', 'refused', 'form refused',
     'account refused', 'provider failed', 'absent', 'resent', 'written off', 'unseen')),
  provider_run_id TEXT,
  answer TEXT,                             -- the last answer, redacted, where it can be asked for again
  answer_file TEXT,                        -- digest of the stored answer, where it cannot
  http_status INTEGER,
  code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  cost_microusd INTEGER NOT NULL DEFAULT 0 CHECK (cost_microusd >= 0),
  cost_basis TEXT NOT NULL DEFAULT 'none' CHECK (cost_basis IN ('reported', 'computed', 'assumed', 'none')),
  doubt_microusd INTEGER NOT NULL DEFAULT 0 CHECK (doubt_microusd >= 0),
  surplus_runs INTEGER NOT NULL DEFAULT 0 CHECK (surplus_runs >= 0),
  surplus_microusd INTEGER NOT NULL DEFAULT 0 CHECK (surplus_microusd >= 0),
  surplus_doubt_microusd INTEGER NOT NULL DEFAULT 0 CHECK (surplus_doubt_microusd >= 0),
  CHECK ((outcome IS NULL) = (ended_at IS NULL)),
  UNIQUE (request_key, number)
) STRICT;
CREATE UNIQUE INDEX one_open_attempt ON attempts (request_key) WHERE outcome IS NULL;

CREATE TABLE raws (
  request_key TEXT NOT NULL REFERENCES requests (key),
  number INTEGER NOT NULL CHECK (number >= 1),
  attempt_id INTEGER NOT NULL REFERENCES attempts (id),
  sha256 TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('png', 'jpeg', 'webp')),
  width INTEGER NOT NULL CHECK (width > 0),
  height INTEGER NOT NULL CHECK (height > 0),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  PRIMARY KEY (request_key, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (
  slot TEXT NOT NULL REFERENCES tasks (slot),
  number INTEGER NOT NULL CHECK (number >= 1),
  planned TEXT NOT NULL,                   -- as the manifest asked; `path` follows the format that came
  path TEXT NOT NULL UNIQUE,
  path_key TEXT NOT NULL UNIQUE,           -- the path as a file system that folds case and width sees it
  request_key TEXT NOT NULL REFERENCES requests (key),
  sha256 TEXT NOT NULL,
  placed_at TEXT NOT NULL,
  PRIMARY KEY (slot, number)
) STRICT;

CREATE TABLE uploads (
  scope TEXT NOT NULL,                     -- the provider's origin and organisation
  sha256 TEXT NOT NULL,
  asset_id TEXT NOT NULL,
  uploaded_at TEXT NOT NULL,
  PRIMARY KEY (scope, sha256)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  run_id INTEGER,
  request_key TEXT NOT NULL,
  event TEXT NOT NULL,
  state_from TEXT NOT NULL,
  state_to TEXT NOT NULL
) STRICT;
"""


PACE = """
ALTER TABLE attempts ADD COLUMN phase TEXT NOT NULL DEFAULT '';  -- how far the call got that was not answered

CREATE TABLE paces (
  scope TEXT PRIMARY KEY,                  -- the provider's origin and organisation
  per_minute REAL NOT NULL CHECK (per_minute > 0),
  confidence INTEGER NOT NULL CHECK (confidence >= 0),
  learnt_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

DIGESTS = """
CREATE TABLE digests (
  path TEXT PRIMARY KEY,                   -- absolute
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  modified_ns INTEGER NOT NULL,            -- the file's times and inode, as they were when it was read
  changed_ns INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('png', 'jpeg', 'webp'))
) STRICT, WITHOUT ROWID;

-- digest of the saved plan that a run carries out, empty for one that needs none
ALTER TABLE runs ADD COLUMN plan TEXT NOT NULL DEFAULT '';
"""


CHAINS = """
ALTER TABLE tasks ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';  -- JSON list

CREATE TABLE waiting (
  slot TEXT PRIMARY KEY,                   -- of a task that has no request yet; once it has one, it is in `tasks`
  item_id TEXT NOT NULL,
  edit TEXT NOT NULL,
  variant TEXT NOT NULL,
  labels TEXT NOT NULL,                    -- as in `tasks`
  tags TEXT NOT NULL,
  place TEXT NOT NULL,
  paths TEXT NOT NULL,
  upstream TEXT NOT NULL,                  -- slot of the task whose picture it starts from
  gate TEXT NOT NULL CHECK (gate IN ('done', 'approved')),
  provider TEXT NOT NULL,
  spec TEXT NOT NULL,                      -- as in `requests`, with a placeholder for that picture
  quote_low_microusd INTEGER NOT NULL CHECK (quote_low_microusd >= 0),
  quote_high_microusd INTEGER NOT NULL CHECK (quote_high_microusd >= quote_low_microusd),
  wanted_by INTEGER NOT NULL REFERENCES runs (id),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_upstream ON waiting (upstream);

CREATE TABLE decisions (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one counts
  slot TEXT NOT NULL REFERENCES tasks (slot),
  request_key TEXT NOT NULL REFERENCES requests (key),  -- whose pictures were looked at
  decided_at TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'rejected')),
  reason TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT '',
  who TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX decisions_slot ON decisions (slot, request_key);
"""

FACTS = """
-- JSON: the settings in force with their origin, and the rows that made no task
ALTER TABLE runs ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
"""

CHECKS = """
CREATE TABLE checks (
  slot TEXT NOT NULL REFERENCES tasks (slot),
  number INTEGER NOT NULL CHECK (number >= 1),
  name TEXT NOT NULL,                      -- of the check, as in the manifest
  sha256 TEXT NOT NULL,                    -- the delivered file that was looked at
  verdict TEXT NOT NULL CHECK (verdict IN ('passed', 'warned', 'failed')),
  measured TEXT NOT NULL,                  -- in words a person reads
  wanted TEXT NOT NULL,
  checked_at TEXT NOT NULL,
  PRIMARY KEY (slot, number, name)
) STRICT, WITHOUT ROWID;
"""

RENDERING = """
CREATE TABLE recipes (
  digest TEXT PRIMARY KEY,
  recipe TEXT NOT NULL                     -- canonical JSON, see `recipe.Recipe`
) STRICT, WITHOUT ROWID;

ALTER TABLE tasks ADD COLUMN recipe TEXT NOT NULL DEFAULT '';    -- digest; empty to deliver the raws as they are
ALTER TABLE waiting ADD COLUMN recipe TEXT NOT NULL DEFAULT '';
ALTER TABLE outputs ADD COLUMN recipe TEXT NOT NULL DEFAULT '';  -- the one that the file was made with

CREATE TABLE renders (
  sha256 TEXT NOT NULL,                    -- noted before the file gets its name, so that it is known after a crash
  raw_sha256 TEXT NOT NULL,
  recipe TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('png', 'jpeg', 'webp')),
  width INTEGER NOT NULL CHECK (width > 0),
  height INTEGER NOT NULL CHECK (height > 0),
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  made_at TEXT NOT NULL,
  PRIMARY KEY (sha256, raw_sha256)
) STRICT, WITHOUT ROWID;
"""

REVIEWS = """
CREATE TABLE said (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one counts
  slot TEXT NOT NULL REFERENCES tasks (slot),
  request_key TEXT NOT NULL REFERENCES requests (key),  -- whose pictures were looked at
  decided_at TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'rejected', 'undecided')),  -- undecided takes back
  reason TEXT NOT NULL DEFAULT '',
  note TEXT NOT NULL DEFAULT '',
  who TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO said SELECT id, slot, request_key, decided_at, verdict, reason, note, who FROM decisions;
DROP TABLE decisions;
ALTER TABLE said RENAME TO decisions;
CREATE INDEX decisions_slot ON decisions (slot, request_key);

CREATE TABLE wishes (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one counts, without texts it is none
  slot TEXT NOT NULL REFERENCES tasks (slot),
  request_key TEXT NOT NULL REFERENCES requests (key),  -- whose pictures shall be made again
  wished_at TEXT NOT NULL,
  prompt TEXT NOT NULL,                    -- all of the new one; empty leaves it to whoever buys
  note TEXT NOT NULL,
  who TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX wishes_slot ON wishes (slot, request_key);

CREATE TABLE overrides (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one counts
  slot TEXT NOT NULL REFERENCES tasks (slot),
  at TEXT NOT NULL,
  revision INTEGER NOT NULL CHECK (revision >= 1),      -- that it is bought as, or goes back to
  prompt TEXT,                             -- NULL: the manifest's own again
  base_prompt TEXT NOT NULL,               -- the manifest's at that time: holds only as long as it is that
  replaces TEXT NOT NULL REFERENCES requests (key)      -- what the task had before
) STRICT;
CREATE INDEX overrides_slot ON overrides (slot);

CREATE TABLE comparisons (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one of a reviewer counts
  item_id TEXT NOT NULL,
  edit TEXT NOT NULL,
  shown TEXT NOT NULL,                     -- JSON list of [slot, request key], in the order of the sides
  winner TEXT NOT NULL,                    -- slot; empty for a tie, NULL is not needed: undone ones are 'undone'
  outcome TEXT NOT NULL CHECK (outcome IN ('won', 'tie', 'undone')),
  compared_at TEXT NOT NULL,
  who TEXT NOT NULL DEFAULT '',
  CHECK ((outcome = 'won') = (winner <> ''))
) STRICT;
CREATE INDEX comparisons_item ON comparisons (item_id, edit, who);
"""

LOCATIONS = """
ALTER TABLE digests ADD COLUMN located INTEGER;  -- 1 if the picture says where it was taken, NULL if nobody has looked
"""

LINEAGE = """
ALTER TABLE tasks ADD COLUMN was TEXT NOT NULL DEFAULT '';       -- slot that it was called before its row was renamed
ALTER TABLE tasks ADD COLUMN upstream TEXT NOT NULL DEFAULT '';  -- slot of the task whose picture it started from
CREATE INDEX tasks_was ON tasks (was) WHERE was <> '';
CREATE INDEX overrides_replaces ON overrides (replaces);
ALTER TABLE decisions ADD COLUMN files TEXT NOT NULL DEFAULT ''; -- digest of the delivered files that were looked at
"""

JOBS = """
CREATE TABLE job_starts (
  id INTEGER PRIMARY KEY,                  -- rows are only ever added; the latest one of a job counts
  job TEXT NOT NULL,                       -- its name
  at TEXT NOT NULL,                        -- of a start that goes on after it was cut off: when it first began
  event TEXT NOT NULL CHECK (event IN ('began', 'ended')),
  owner TEXT NOT NULL DEFAULT ''           -- process and host
) STRICT;
CREATE INDEX job_starts_job ON job_starts (job);

CREATE TABLE job_warnings (
  job TEXT NOT NULL,
  label TEXT NOT NULL,                     -- both empty for everybody's spending
  value TEXT NOT NULL,
  period TEXT NOT NULL,                    -- in words; of a start with the moment at which it began
  percent INTEGER NOT NULL CHECK (percent BETWEEN 1 AND 100),
  at TEXT NOT NULL,
  PRIMARY KEY (job, label, value, period, percent)
) STRICT, WITHOUT ROWID;
"""

TRAILING = """
ALTER TABLE raws ADD COLUMN trailing_bytes INTEGER NOT NULL DEFAULT 0;  -- behind the picture's end
"""
