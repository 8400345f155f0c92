"""The job: clips in, a ledger of committed shards and a manifest out."""
