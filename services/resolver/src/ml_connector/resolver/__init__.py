"""take, decode, resolve, map, emit."""
