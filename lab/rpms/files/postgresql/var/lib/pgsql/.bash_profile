PGDATA=/var/lib/pgsql/data
export PGDATA
