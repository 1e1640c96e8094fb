"""One file for each part of a model that is integrated out, with its loops, slopes, draws and compiled likelihood."""
