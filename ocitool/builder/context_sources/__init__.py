"""Where the files of a context come from: directories, archives, URLs, git repositories."""
