#!/bin/sh
# Make the database on the first start, then serve it: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB.
# Further arguments go to `postgres`, for example -c shared_buffers=64MB.
set -eu
: "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Made beside its place and moved there when complete, so a restart never finds half of it.
    new=$PGDATA.new
    rm -rf "$new"
    password_file=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$password_file"
    initdb --pgdata="$new" --username="$user" --pwfile="$password_file" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
    rm -f "$password_file"
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s";\n' "$database" |
            postgres --single -D "$new" -c log_min_messages=warning postgres >/dev/null
    fi
    mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
