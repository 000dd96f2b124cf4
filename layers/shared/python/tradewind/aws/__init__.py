"""AWS calls of the hot path, signed by hand over ``http.client``.

A worker that imports boto3 spends more of its cold start there than on everything else together; the five calls that
every task needs (send, change visibility, start a machine, decrypt, read an object) fit in one small client. What runs
rarely (administration, the local cloud, deployment) uses boto3.
"""
