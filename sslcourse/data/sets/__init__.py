"""Real data sets, a module each: where their files are, and how they become what the course reads.

A module's name is what is typed after `sslcourse data`; its first line is what the list of all says of it;
its `main` takes the words that follow. Nothing else needs to know of a new one.
"""
