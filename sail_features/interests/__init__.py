"""What each user is interested in, mined from history: several vectors a user, with weights.

One algorithm a file; `mining` runs the configured one over many users, `changes` says
when a user's interests need mining again, `frame` takes and gives Arrow tables.
`global_clusters` are shared by all users; `cluster_frame` counts each one's likes by them.
"""
