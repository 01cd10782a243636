### Remedies of the files of an export.

files-remedy-not-empty = name a directory that does not exist yet: an export overwrites nothing
files-remedy-disk-full = free space there, or name a directory on another disk
files-remedy-not-permitted = give that place to this user, or name another directory
files-remedy-not-found = put the files back where they were, or name another directory
files-remedy-failed = check that place, or name another directory
files-remedy-other-directory = name another directory
files-remedy-check-disk = check that disk, and export again into another directory
