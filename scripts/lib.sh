# Shared by the scripts beside it, which source it; not to be run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

usage_error() {
  printf 'error: %s\n' "$*" >&2
  usage >&2
  exit 2
}

# Prints the packages of the named part of packages.txt.
packages_of() {
  awk -v part="[$1]" '/^\[/ { inside = ($0 == part); next } inside && NF && !/^#/' scripts/packages.txt
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "packages are missing and installing them needs root: run this as root, or install sudo"
  fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" >&2; }

# Mirrors fail for a moment now and then, and an index can go stale between update and install, so both are tried again.
install_from_debian() {
  apt update && apt install --yes --no-install-recommends "$@" && return
  say "that failed; once more in 10 seconds"
  sleep 10
  apt update && apt install --yes --no-install-recommends "$@"
}

# Servers come with packages only to be run by scripts/dev-servers.sh: none is to start as a service, nor is PostgreSQL to
# make its main cluster. Says so to Debian's tools for as long as `install_from_debian` takes; what the machine's owner said
# about it stays as it is.
install_without_services() {
  (
    policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/wfo.conf ours=()
    trap '[ ${#ours[@]} -eq 0 ] || as_root rm -f "${ours[@]}"' EXIT
    trap 'exit 130' INT TERM
    if [ ! -e "$policy" ]; then
      ours+=("$policy")
      as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
    fi
    if [ ! -e "$cluster" ]; then
      ours+=("$cluster")
      as_root sh -c 'mkdir -p "${1%/*}" && echo "create_main_cluster = false" >"$1"' sh "$cluster"
    fi
    install_from_debian "$@"
  )
}

# install_packages <part>...: installs what is not there yet of these parts of packages.txt; touches nothing else.
install_packages() {
  local part package missing=()
  for part in "$@"; do
    for package in $(packages_of "$part"); do
      [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  install_without_services "${missing[@]}" || die "apt-get could not install: ${missing[*]}"
}

require_debian() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null && return
  die "this is no Debian: install what scripts/packages.txt names by hand, then use cmake as CONTRIBUTING.md says"
}

# How many compilers to run at once: one a core, but each may need 2 GiB (Beast, sanitizers).
build_jobs() {
  local jobs gib
  jobs=$(nproc)
  gib=$(awk '/^MemAvailable:/ { print int($2 / 1024 / 1024) }' /proc/meminfo 2>/dev/null || true)
  [ -n "$gib" ] && [ $((gib / 2)) -lt "$jobs" ] && jobs=$((gib / 2))
  [ "$jobs" -lt 1 ] && jobs=1
  echo "$jobs"
}

# configure <folder> <cmake argument>...
configure() {
  local folder=$1
  shift
  say "configuring $folder"
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache "$@"
}

# build <folder> <ninja argument>...
build() {
  local folder=$1 jobs
  shift
  jobs=$(build_jobs)
  say "building $folder with $jobs jobs"
  ninja -C "$folder" -j "$jobs" "$@"
}
