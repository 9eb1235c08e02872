"""Programs as files that need no Python: objects, libraries with a C header, programs; and libraries called from Python."""
