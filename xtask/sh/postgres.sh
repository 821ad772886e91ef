# Makes a cluster of PostgreSQL in a folder and becomes its server on an address and a port, for suites.
# A superuser may not run one: then it belongs to the user whom the package has made for that.
set -eu
folder=$1
address=$2
port=$3
# Debian keeps the server's own programs off the PATH, one folder for each release.
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$folder"
    as='setpriv --reuid=postgres --regid=postgres --init-groups'
fi
$as "$programs/initdb" --pgdata="$folder/cluster" --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
exec $as "$programs/postgres" -D "$folder/cluster" -c "listen_addresses=$address" -c "port=$port" \
    -c unix_socket_directories= -c fsync=off
