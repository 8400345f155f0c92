"""SyncNet's Sync-C and Sync-D, with the definitions of `joonson/syncnet_python`, in memory, on the frames that everybody else reads.

Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016. See `docs/syncnet.md`.
"""
