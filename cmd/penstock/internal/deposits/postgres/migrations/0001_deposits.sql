-- One row for each session that was closed: what it had won, and the record of the output topic that says so.
CREATE TABLE penstock_deposits (
    topic            text        NOT NULL,
    partition        integer     NOT NULL,
    record_offset    bigint      NOT NULL,
    session_id       text,                 -- null for an id that holds U+0000, which text cannot
    session_id_bytes bytea,                -- in UTF-8, for such an id alone
    amount           numeric     NOT NULL,
    reason           text        NOT NULL, -- deposit, idle-timeout
    closed_at        timestamptz,          -- the record's timestamp
    stored_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, record_offset),
    CHECK ((session_id IS NULL) <> (session_id_bytes IS NULL))
);

-- How far each partition is stored. It changes in the transaction that stores the rows, and is the truth: the group's
-- offsets in Kafka are for those who watch lag.
CREATE TABLE penstock_deposit_offsets (
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    next_offset    bigint      NOT NULL, -- of the first record that is not stored
    topic_id       text        NOT NULL, -- of the topic that the offsets belong to
    cluster_id     text        NOT NULL,
    consumer_group text        NOT NULL,
    owner          text        NOT NULL, -- who may write
    epoch          bigint      NOT NULL, -- rises with each claim; a write under an older one has no effect
    claimed_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);
