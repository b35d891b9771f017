"""parse, connect, serve: whole small requests over HTTP/1.1, and next to nothing kept for who has not sent one."""
