"""What is typed after `sslcourse`: one module for each group of commands."""
