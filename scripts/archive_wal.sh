#!/bin/sh
# PostgreSQL's archive_command: archive_wal.sh FOLDER %p %f
# Keeps a segment of the write-ahead log, on disk before it is told to be kept, and never over another.
set -eu

folder=$1 source=$2 name=$3
if [ -e "$folder/$name" ]; then
    cmp -s "$source" "$folder/$name" && exit 0
    echo "archive_wal.sh: $folder/$name is there already, and differs" >&2
    exit 1
fi
cp "$source" "$folder/.$name.part"
sync "$folder/.$name.part"
mv "$folder/.$name.part" "$folder/$name"
sync "$folder"
