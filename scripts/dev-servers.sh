#!/bin/bash
# Real PostgreSQL 15 and RabbitMQ 3.10 servers from Debian's packages, for people and for tests: no service manager, no
# container, on 127.0.0.1 only, ports and passwords of their own, everything in one folder.
caller=$PWD
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'EOT'
usage: scripts/dev-servers.sh COMMAND [--directory DIR] [...]
  up [--only SERVER] [--while-parent] [--standby-of DIR]
                        starts what does not run yet; prints KEY=value lines
  down [--delete]       stops all; --delete: and removes DIR with all data
  status [--only SERVER]
                        prints the same lines; exit code 3 unless all of it runs
  start SERVER          again, on the same port, with the same data
  stop SERVER [--mode smart|fast|immediate]
                        in good order; the modes are PostgreSQL's, default fast
  kill SERVER           kill -9 of all its processes
  pause SERVER          SIGSTOP to all its processes
  resume SERVER         SIGCONT
  psql -- ARGUMENT...   psql as superuser in the database wfo
  rabbitmqctl -- ARGUMENT...
  SERVER                postgres or rabbitmq
  --directory DIR       default: ${TMPDIR:-/tmp}/wfo-dev-servers-<user id>
  --while-parent        down --delete as soon as the process that called this ends
  --standby-of DIR      the first time: PostgreSQL follows the running one of DIR
Ports and passwords are chosen by the first `up` and stay until `down --delete`. As root, PostgreSQL runs as the user
postgres. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 `status`: not running.
EOT
}

postgres_bin=/usr/lib/postgresql/15/bin
patience_s=90 # for a server to start or stop; also for a slow machine that builds meanwhile
clean_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# --- processes. A pid file NAME has a second one, NAME.start, with the time the process began: pids are used again.

# stat_of PID: the fields of /proc/PID/stat from the third on (state, parent, …; the 20th: when it began).
stat_of() {
  local line
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  echo "${line##*) }"
}

write_pid() { # FILE PID
  local fields
  read -ra fields < <(stat_of "$2") || die "process $2 ended at once"
  echo "$2" >"$1"
  echo "${fields[19]}" >"$1.start"
}

# pid_in FILE: the pid, if that process still runs.
pid_in() {
  local pid start fields
  [ -f "$1" ] && [ -f "$1.start" ] || return 1
  pid=$(<"$1") start=$(<"$1.start")
  has_ended "$pid" && return 1
  read -ra fields < <(stat_of "$pid") && [ "${fields[19]}" = "$start" ] && echo "$pid"
}

# Also when it waits to be collected, which nobody may ever do in a container. As long as it has other threads, such a
# process still holds its files and ports.
has_ended() { # PID
  local fields
  read -ra fields < <(stat_of "$1") || return 0
  [ "${fields[0]}" = Z ] && [ "${fields[17]}" -le 1 ]
}

is_paused() {
  local fields
  read -ra fields < <(stat_of "$1") && [ "${fields[0]}" = T ]
}

# family_of PID: the process and its children, which in PostgreSQL are all that there are.
family_of() {
  local stat fields
  echo "$1"
  for stat in /proc/[0-9]*; do
    read -ra fields < <(stat_of "${stat#/proc/}") || continue
    [ "${fields[1]}" != "$1" ] || echo "${stat#/proc/}"
  done
}

await_end() { # PID WHAT
  local until=$((SECONDS + patience_s))
  until has_ended "$1"; do
    [ "$SECONDS" -lt "$until" ] || die "$2 (process $1) has not ended within $patience_s seconds"
    sleep 0.02
  done
}

is_taken() { # PORT
  local hex
  hex=$(printf ':%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

refuse_taken_port() { # PORT WHAT
  ! is_taken "$1" || die "port $1, which $2 of $dir had at first, is taken by another program: end that one," \
    "or start anew with: scripts/dev-servers.sh down --delete --directory $dir"
}

# --- the folder

# Whether nothing but what a first `up` makes before its state is in there, apart from NAME...
is_fresh() {
  local name names=()
  for name in "$@"; do names+=(! -name "$name"); done
  [ -f "$dir/state" ] || [ -z "$(find "$dir" -mindepth 1 -maxdepth 1 "${names[@]}" -print -quit)" ]
}

open_folder() {
  [ ! -L "$dir" ] || die "$dir is a link; --directory must name a folder"
  # Another `up` may make it at this moment.
  [ -d "$dir" ] || mkdir -m 711 -- "$dir" 2>/dev/null || [ -d "$dir" ] ||
    die "cannot make the folder $dir; --directory must name one whose parent is there and writable"
  [ -O "$dir" ] || die "$dir is no folder of user $(id -un); choose another with --directory"
  [ -f "$dir/lock" ] || is_fresh lock || die "$dir holds something else already; choose another folder with --directory"
  chmod 711 "$dir"
}

# One command at a time in a folder. The file may be deleted with the folder while we wait for it.
lock_folder() {
  while :; do
    [ "$1" != make ] || open_folder
    { exec 9>"$dir/lock"; } 2>/dev/null || { [ "$1" = make ] && continue || return 1; }
    flock 9
    [ "$dir/lock" -ef "/proc/$$/fd/9" ] && break
  done
  [ "$1" != make ] || is_fresh lock tls || die "$dir holds something else already; choose another folder with --directory"
}

load_state() {
  [ -f "$dir/state" ] && [ -O "$dir/state" ] || return 1
  . "$dir/state"
}

make_state() {
  local port tries
  # Blocks of nine ports below those that the kernel hands out; started at our pid, so that two that start at the same
  # time look at different ones.
  for ((tries = 0; ; tries++)); do
    [ "$tries" -lt 1300 ] || die "no nine free ports in a row between 20000 and 31700"
    port_first=$((20000 + ($$ + tries) % 1300 * 9))
    for ((port = port_first; port < port_first + 9; port++)); do ! is_taken "$port" || continue 2; done
    break
  done
  password=$(openssl rand -hex 12) superuser_password=$(openssl rand -hex 12)
  # A standby has the roles of its primary.
  [ -z "$standby_of" ] || read -r password superuser_password < <(. "$standby_of/state" && echo "$password $superuser_password")
  cookie=$(openssl rand -hex 16)
  make_certificates
  (umask 077 && printf '%s=%s\n' port_first "$port_first" password "$password" superuser_password "$superuser_password" \
    cookie "$cookie" >"$dir/state.new")
  mv "$dir/state.new" "$dir/state"
}

derive() {
  postgres_port=$port_first amqp_port=$((port_first + 1)) amqps_port=$((port_first + 2))
  dist_port=$((port_first + 3)) epmd_port=$((port_first + 4)) ctl_port=$((port_first + 5))
  rabbit_env=(
    HOME="$dir/rabbitmq/home" PATH="$clean_path" LANG=C.UTF-8
    RABBITMQ_NODENAME="wfo-$port_first@localhost" RABBITMQ_MNESIA_BASE="$dir/rabbitmq/mnesia"
    RABBITMQ_LOG_BASE="$dir/rabbitmq/log" RABBITMQ_LOGS="$dir/rabbitmq/log/rabbitmq.log"
    RABBITMQ_CONFIG_FILE="$dir/rabbitmq/rabbitmq" RABBITMQ_ADVANCED_CONFIG_FILE="$dir/rabbitmq/advanced.config"
    RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_ENABLED_PLUGINS_FILE="$dir/rabbitmq/enabled_plugins"
    RABBITMQ_DIST_PORT="$dist_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd_port"
    RABBITMQ_CTL_DIST_PORT_MIN="$ctl_port" RABBITMQ_CTL_DIST_PORT_MAX="$((ctl_port + 3))"
    RABBITMQ_CTL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 1:1"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
    ERL_CRASH_DUMP="$dir/rabbitmq/log/erl_crash.dump"
  )
}

# An authority, a certificate for the servers and one for clients, and an authority that signed neither.
make_certificates() {
  local tls=$dir/tls
  rm -rf "$tls"
  mkdir -m 711 "$tls"
  cat >"$tls/openssl.cnf" <<'EOT'
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
EOT
  certificate() { # NAME SECTION COMMON_NAME [more]
    openssl req -x509 -config "$tls/openssl.cnf" -extensions "$2" -subj "/CN=$3" -days 3650 -nodes -newkey ec \
      -pkeyopt ec_paramgen_curve:prime256v1 -keyout "$tls/$1.key" -out "$tls/$1.crt" "${@:4}" 2>"$tls/openssl.log" ||
      die "openssl could not make a certificate: $(<"$tls/openssl.log")"
  }
  certificate ca authority "wfo development authority"
  certificate other-ca authority "another authority"
  certificate server server localhost -CA "$tls/ca.crt" -CAkey "$tls/ca.key"
  certificate client client wfo -CA "$tls/ca.crt" -CAkey "$tls/ca.key"
  rm "$tls/openssl.cnf" "$tls/openssl.log"
}

# --- PostgreSQL

# With an environment of its own: PGHOST, PGOPTIONS and the like are the caller's.
as_postgres() {
  local drop=()
  [ "$(id -u)" -ne 0 ] || drop=(setpriv --reuid=postgres --regid=postgres --init-groups)
  (cd / && exec "${drop[@]}" env --ignore-environment PATH="$clean_path" LC_ALL=C.UTF-8 "$@" 9>&-)
}

psql_as_superuser() {
  env --ignore-environment PATH="$clean_path" LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" HOME="${HOME:-/}" PGPASSWORD="$superuser_password" \
    "$postgres_bin/psql" --no-psqlrc --host=127.0.0.1 --port="$postgres_port" --username=postgres "$@" 9>&-
}

require_postgres() {
  [ -x "$postgres_bin/initdb" ] && [ -x "$postgres_bin/psql" ] ||
    die "PostgreSQL 15 is missing in $postgres_bin: apt-get install postgresql-15 postgresql-client-15 (scripts/test.sh does it, too)"
  [ "$(id -u)" -ne 0 ] || id postgres >/dev/null 2>&1 ||
    die "PostgreSQL does not run as root, and there is no user postgres, which Debian's package postgresql-common makes"
  as_postgres test -x "$dir" ||
    die "the user postgres, as which PostgreSQL runs when you are root, has no way into $dir; choose another with --directory"
}

postgres_pid() { pid_in "$dir/postgres/pid"; }

make_cluster() {
  local root=$dir/postgres owner=() shared_memory=posix socket_folder=$dir/postgres
  rm -rf "$root"
  [ "$(id -u)" -ne 0 ] || owner=(--owner=postgres --group=postgres)
  install --directory --mode=700 "${owner[@]}" "$root"
  as_postgres sh -c 'umask 077 && cat >"$1"' sh "$root/password" <<<"$superuser_password"
  if [ -n "$standby_of" ]; then
    as_postgres env PGPASSWORD="$superuser_password" "$postgres_bin/pg_basebackup" --pgdata="$root/data" --host=127.0.0.1 \
      --port="$(. "$standby_of/state" && echo "$port_first")" --username=postgres --write-recovery-conf --checkpoint=fast \
      --no-sync >"$dir/initdb.log" 2>&1 ||
      die "pg_basebackup failed; $dir/initdb.log says: $(tail -n 5 "$dir/initdb.log")"
  else
    as_postgres "$postgres_bin/initdb" --pgdata="$root/data" --encoding=UTF8 --locale=C --username=postgres --no-sync \
      --auth=scram-sha-256 --pwfile="$root/password" >"$dir/initdb.log" 2>&1 ||
      die "initdb failed; $dir/initdb.log says: $(tail -n 5 "$dir/initdb.log")"
  fi
  install --mode=600 "${owner[@]}" "$dir/tls/server.key" "$dir/tls/server.crt" "$dir/tls/ca.crt" "$root/data"
  # In a chroot there may be no /dev/shm; and a socket's path is at most 107 bytes long.
  as_postgres sh -c 't=$(mktemp /dev/shm/wfo.XXXXXX 2>/dev/null) && rm "$t"' || shared_memory=mmap
  [ ${#socket_folder} -le 80 ] || socket_folder=
  as_postgres sh -c 'cat >>"$1"' sh "$root/data/postgresql.conf" <<EOT

# Written by scripts/dev-servers.sh.
listen_addresses = '127.0.0.1'
port = $postgres_port
unix_socket_directories = '$socket_folder'
unix_socket_permissions = 0700
max_connections = 200
dynamic_shared_memory_type = $shared_memory
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.crt'
log_line_prefix = '%m [%p] %q%u@%d '
EOT
  start_postmaster
  [ -n "$standby_of" ] || psql_as_superuser --quiet --set=ON_ERROR_STOP=1 --set=password="$password" --dbname=postgres <<'EOT' >&2
CREATE ROLE wfo LOGIN PASSWORD :'password';
CREATE ROLE wfo_ledger LOGIN PASSWORD :'password';
CREATE ROLE wfo_nobody LOGIN PASSWORD :'password';
CREATE DATABASE wfo OWNER wfo;
CREATE DATABASE wfo_ledger OWNER wfo_ledger;
EOT
  touch "$dir/postgres.made"
}

start_postmaster() {
  local root=$dir/postgres
  refuse_taken_port "$postgres_port" PostgreSQL
  forget_dead_postmaster
  as_postgres "$postgres_bin/pg_ctl" start --pgdata="$root/data" --wait --timeout="$patience_s" --silent --log="$root/log" \
    </dev/null >"$dir/pg_ctl.log" 2>&1 ||
    die "PostgreSQL does not start: $(<"$dir/pg_ctl.log") $root/log says: $(tail -n 5 "$root/log" 2>/dev/null)"
  write_pid "$root/pid" "$(head -n 1 "$root/data/postmaster.pid")"
}

# PostgreSQL takes a killed process for a running one as long as process 1 has not collected it, which in a container
# may be never.
forget_dead_postmaster() {
  local file=$dir/postgres/data/postmaster.pid pid
  [ -f "$file" ] || return 0
  pid=$(head -n 1 "$file")
  [ -d "/proc/$pid" ] && has_ended "$pid" || return 0 # else PostgreSQL sees for itself
  rm -f "$file" "$dir/postgres/.s.PGSQL.$postgres_port.lock"
}

start_postgres() {
  require_postgres
  local pid
  if pid=$(postgres_pid); then
    say "PostgreSQL runs already on port $postgres_port (process $pid)"
  elif [ -f "$dir/postgres.made" ]; then
    start_postmaster
  else
    make_cluster
  fi
}

stop_postgres() { # [MODE]
  local pid signal
  pid=$(postgres_pid) || return 0
  case "${1:-fast}" in smart) signal=TERM ;; fast) signal=INT ;; immediate) signal=QUIT ;; esac
  resume_postgres
  kill -"$signal" "$pid"
  await_end "$pid" PostgreSQL
}

# The parent is stopped first, so that it makes no child that is missed.
kill_postgres() {
  local pid family member
  pid=$(postgres_pid) || die "PostgreSQL of $dir does not run"
  kill -STOP "$pid"
  family=$(family_of "$pid")
  kill -KILL $family 2>/dev/null || true
  for member in $family; do await_end "$member" PostgreSQL; done
}

pause_postgres() {
  local pid
  pid=$(postgres_pid) || die "PostgreSQL of $dir does not run"
  kill -STOP "$pid"
  kill -STOP $(family_of "$pid") 2>/dev/null || true
}

resume_postgres() {
  local pid
  pid=$(postgres_pid) || die "PostgreSQL of $dir does not run"
  kill -CONT $(family_of "$pid") 2>/dev/null || true
}

# --- RabbitMQ

# Debian's /usr/sbin/rabbitmq-server and rabbitmqctl change the user and drop the environment; these do not.
rabbit_sbin() {
  local folder
  for folder in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin; do
    [ ! -x "$folder/rabbitmq-server" ] || { echo "$folder" && return; }
  done
  die "RabbitMQ is missing below /usr/lib/rabbitmq/lib: apt-get install rabbitmq-server (scripts/test.sh does it, too)"
}

rabbitmq_pid() { pid_in "$dir/rabbitmq/pid"; }

make_broker() {
  local root=$dir/rabbitmq
  rm -rf "$root"
  mkdir -m 700 "$root" "$root/home" "$root/mnesia" "$root/log"
  (umask 077 && printf %s "$cookie" >"$root/home/.erlang.cookie")
  chmod 400 "$root/home/.erlang.cookie"
  echo '[].' >"$root/enabled_plugins"
  echo '[].' >"$root/advanced.config"
  cat >"$root/rabbitmq.conf" <<EOT
# Written by scripts/dev-servers.sh.
listeners.tcp.default = 127.0.0.1:$amqp_port
listeners.ssl.default = 127.0.0.1:$amqps_port
ssl_options.cacertfile = $dir/tls/ca.crt
ssl_options.certfile = $dir/tls/server.crt
ssl_options.keyfile = $dir/tls/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
num_acceptors.tcp = 2
num_acceptors.ssl = 2
load_definitions = $root/definitions.json
loopback_users = none
log.file.level = info
EOT
  # wfo may do all, wfo_reader only read, wfo_nobody nothing at all.
  (umask 077 && cat >"$root/definitions.json") <<EOT
{
  "users": [
    {"name": "wfo", "password": "$password", "tags": ""},
    {"name": "wfo_reader", "password": "$password", "tags": ""},
    {"name": "wfo_nobody", "password": "$password", "tags": ""}
  ],
  "vhosts": [{"name": "/"}],
  "permissions": [
    {"user": "wfo", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "wfo_reader", "vhost": "/", "configure": "^$", "write": "^$", "read": ".*"}
  ]
}
EOT
  touch "$root/made"
}

# detach FILE COMMAND...: runs it in a session of its own, its output into FILE; sets `detached_pid`.
detach() {
  (cd "$dir" && exec setsid "${@:2}") </dev/null >>"$1" 2>&1 9>&- &
  detached_pid=$!
}

# Does not wait until it answers; await_rabbitmq does.
launch_rabbitmq() {
  local sbin pid root=$dir/rabbitmq
  if pid=$(rabbitmq_pid); then
    say "RabbitMQ runs already on port $amqp_port (process $pid)"
    return
  fi
  sbin=$(rabbit_sbin)
  [ -f "$root/made" ] || make_broker
  refuse_taken_port "$amqp_port" RabbitMQ
  refuse_taken_port "$amqps_port" "RabbitMQ (TLS)"
  if ! pid_in "$root/epmd.pid" >/dev/null; then
    refuse_taken_port "$epmd_port" "Erlang's epmd"
    detach "$root/log/epmd.log" env --ignore-environment PATH="$clean_path" epmd -address 127.0.0.1 -port "$epmd_port"
    write_pid "$root/epmd.pid" "$detached_pid"
  fi
  # `detached`: its script becomes the server instead of waiting for it as a second process.
  detach "$root/log/console.log" env --ignore-environment "${rabbit_env[@]}" detached=true "$sbin/rabbitmq-server"
  write_pid "$root/pid" "$detached_pid"
}

# An AMQP client's greeting is answered with the first byte of a method frame.
amqp_answers() {
  local byte
  (
    exec 3<>"/dev/tcp/127.0.0.1/$amqp_port"
    printf 'AMQP\x00\x00\x09\x01' >&3
    IFS= read -r -t 2 -N 1 byte <&3
    [ "$byte" = $'\x01' ]
  ) 2>/dev/null
}

await_rabbitmq() {
  local until=$((SECONDS + patience_s)) log=$dir/rabbitmq/log
  until amqp_answers; do
    rabbitmq_pid >/dev/null ||
      die "RabbitMQ does not start; $log says: $(tail -n 15 "$log/console.log" "$log/rabbitmq.log" 2>/dev/null)"
    [ "$SECONDS" -lt "$until" ] || die "RabbitMQ does not answer within $patience_s seconds; see $log"
    sleep 0.1
  done
}

start_rabbitmq() {
  launch_rabbitmq
  await_rabbitmq
}

stop_rabbitmq() {
  local pid
  if pid=$(rabbitmq_pid); then
    kill -CONT "$pid"
    kill -TERM "$pid"
    await_end "$pid" RabbitMQ
  fi
  if pid=$(pid_in "$dir/rabbitmq/epmd.pid"); then
    kill -KILL "$pid"
    await_end "$pid" epmd
  fi
}

signal_rabbitmq() { # SIGNAL
  local pid
  pid=$(rabbitmq_pid) || die "RabbitMQ of $dir does not run"
  kill -"$1" "$pid"
  [ "$1" != KILL ] || await_end "$pid" RabbitMQ
}
kill_rabbitmq() { signal_rabbitmq KILL; }
pause_rabbitmq() { signal_rabbitmq STOP; }
resume_rabbitmq() { signal_rabbitmq CONT; }

# --- commands

print_state() {
  local server pid state
  [ "$only" = rabbitmq ] || printf '%s\n' \
    "WFO_STORE_URL=postgresql://wfo:$password@127.0.0.1:$postgres_port/wfo" \
    "DEV_POSTGRES_LEDGER_URL=postgresql://wfo_ledger:$password@127.0.0.1:$postgres_port/wfo_ledger" \
    "DEV_POSTGRES_NOBODY_URL=postgresql://wfo_nobody:$password@127.0.0.1:$postgres_port/wfo" \
    "DEV_POSTGRES_SUPERUSER_URL=postgresql://postgres:$superuser_password@127.0.0.1:$postgres_port/wfo" \
    "DEV_POSTGRES_PORT=$postgres_port" \
    "DEV_POSTGRES_PID_FILE=$dir/postgres/pid" \
    "DEV_POSTGRES_LOG=$dir/postgres/log"
  [ "$only" = postgres ] || printf '%s\n' \
    "WFO_BUS_URL=amqp://wfo:$password@127.0.0.1:$amqp_port/%2F" \
    "DEV_RABBITMQ_TLS_URL=amqps://wfo:$password@localhost:$amqps_port/%2F" \
    "DEV_RABBITMQ_READER_URL=amqp://wfo_reader:$password@127.0.0.1:$amqp_port/%2F" \
    "DEV_RABBITMQ_NOBODY_URL=amqp://wfo_nobody:$password@127.0.0.1:$amqp_port/%2F" \
    "DEV_RABBITMQ_PORT=$amqp_port" \
    "DEV_RABBITMQ_TLS_PORT=$amqps_port" \
    "DEV_RABBITMQ_PID_FILE=$dir/rabbitmq/pid" \
    "DEV_RABBITMQ_LOG=$dir/rabbitmq/log/rabbitmq.log"
  printf '%s\n' \
    "DEV_TLS_CA=$dir/tls/ca.crt" \
    "DEV_TLS_OTHER_CA=$dir/tls/other-ca.crt" \
    "DEV_TLS_CLIENT_CERTIFICATE=$dir/tls/client.crt" \
    "DEV_TLS_CLIENT_KEY=$dir/tls/client.key" \
    "DEV_DIRECTORY=$dir"
  for server in ${only:-postgres rabbitmq}; do
    state=stopped
    if pid=$("${server}_pid"); then is_paused "$pid" && state=paused || state=running; fi
    echo "DEV_${server^^}=$state"
  done
}

up() {
  lock_folder make
  load_state || make_state
  derive
  local watched=$PPID
  [ -z "$while_parent" ] || watch "$watched"
  # The broker needs longest, so the database is made meanwhile.
  [ "$only" = postgres ] || launch_rabbitmq
  [ "$only" = rabbitmq ] || start_postgres
  [ "$only" = postgres ] || await_rabbitmq
  print_state
  [ -n "$while_parent" ] || hint
}

hint() {
  local store= bus=
  [ "$only" = rabbitmq ] || store=" --store 'postgresql://wfo:$password@127.0.0.1:$postgres_port/wfo'"
  [ "$only" = postgres ] || bus=" --bus 'amqp://wfo:$password@127.0.0.1:$amqp_port/%2F'"
  cat >&2 <<EOT

next:  build/wfo serve$store$bus
stop:  scripts/dev-servers.sh down --directory $dir     (--delete: with all data)
EOT
}

# A process in the background that waits for the end of PID and then does what `down --delete` does.
watch() { # PID
  end_watch
  detach /dev/null bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down --delete --directory "$3"' \
    watch "$1" "$PWD/scripts/dev-servers.sh" "$dir"
  write_pid "$dir/watch.pid" "$detached_pid"
}

end_watch() {
  local pid family member
  pid=$(pid_in "$dir/watch.pid") || return 0
  [ "$pid" != "$$" ] || return 0
  family=$(family_of "$pid")
  kill -KILL $family 2>/dev/null || true
  for member in $family; do await_end "$member" "the process that watches"; done
}

down() {
  [ -d "$dir" ] || { say "nothing to stop: there is no folder $dir" && return; }
  [ -O "$dir" ] || die "$dir is no folder of user $(id -un)"
  lock_folder keep && load_state || { say "nothing to stop: no server was ever started in $dir" && return; }
  derive
  end_watch
  if [ -n "$delete" ]; then # then nobody needs what a good end would still write
    if postgres_pid >/dev/null; then kill_postgres; fi
    if rabbitmq_pid >/dev/null; then kill_rabbitmq; fi
  fi
  stop_rabbitmq
  stop_postgres fast
  [ -n "$delete" ] || { say "stopped; the data stays in $dir" && return; }
  rm -rf -- "$dir/postgres" "$dir/rabbitmq" "$dir/tls" "$dir"/{postgres.made,initdb.log,pg_ctl.log,watch.pid,watch.pid.start,state,lock}
  rmdir -- "$dir" || die "$dir holds files that are not of this script; they stay"
  say "stopped and deleted $dir"
}

require_state() {
  load_state || die "no server was ever started in $dir; scripts/dev-servers.sh up starts them"
  derive
}

command=${1-}
case "$command" in
  up | down | status | start | stop | kill | pause | resume | psql | rabbitmqctl) shift ;;
  --help) usage && exit ;;
  *) usage_error "unknown command '$command'" ;;
esac
dir= only= while_parent= standby_of= delete= mode= server=
while [ $# -gt 0 ]; do
  case "$command $1" in
    *" --directory")
      [ -n "${2-}" ] || usage_error "--directory needs a folder"
      dir=$2
      shift
      ;;
    "up --only" | "status --only")
      case "${2-}" in postgres | rabbitmq) only=$2 ;; *) usage_error "--only is '${2-}'; allowed: postgres, rabbitmq" ;; esac
      shift
      ;;
    "up --while-parent") while_parent=yes ;;
    "up --standby-of")
      [ -f "${2-}/state" ] || usage_error "--standby-of is '${2-}'; it must be the folder of a server that runs"
      standby_of=$2
      shift
      ;;
    "down --delete") delete=yes ;;
    "stop --mode")
      case "${2-}" in
        smart | fast | immediate) mode=$2 ;;
        *) usage_error "--mode is '${2-}'; allowed: smart, fast, immediate" ;;
      esac
      shift
      ;;
    "start "[pr]* | "stop "[pr]* | "kill "[pr]* | "pause "[pr]* | "resume "[pr]*)
      case "$1" in postgres | rabbitmq) server=$1 ;; *) usage_error "unknown server '$1'; allowed: postgres, rabbitmq" ;; esac
      ;;
    "psql --" | "rabbitmqctl --") shift && break ;;
    *) usage_error "unknown argument '$1' of $command" ;;
  esac
  shift
done
dir=${dir:-${TMPDIR:-/tmp}/wfo-dev-servers-$(id -u)}
[ "${dir#/}" != "$dir" ] || dir=$caller/$dir
dir=$(realpath --canonicalize-missing --no-symlinks -- "$dir")
case "$dir" in *[!A-Za-z0-9_./@+-]*) usage_error "--directory is '$dir'; allowed in it: letters, digits, _ . / @ + -" ;; esac
command -v openssl >/dev/null || die "openssl is missing: apt-get install openssl"

case "$command" in
  up) up ;;
  down) down ;;
  status)
    require_state
    print_state
    for server in ${only:-postgres rabbitmq}; do
      pid=$("${server}_pid") && ! is_paused "$pid" || exit 3
    done
    ;;
  psql)
    require_state
    psql_as_superuser --dbname=wfo "$@"
    ;;
  rabbitmqctl)
    require_state
    exec env --ignore-environment "${rabbit_env[@]}" "$(rabbit_sbin)/rabbitmqctl" "$@"
    ;;
  *)
    [ -n "$server" ] || usage_error "$command needs a server: postgres or rabbitmq"
    [ -z "$mode" ] || [ "$server" = postgres ] || usage_error "--mode is for postgres"
    lock_folder keep 2>/dev/null || true
    require_state
    "${command}_$server" $mode
    ;;
esac
