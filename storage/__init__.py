"""Where silentmix keeps things: the workspace, its manifests, and audio in and out.

Knows files, object stores, Parquet and codecs; knows nothing of models or flows.
"""
