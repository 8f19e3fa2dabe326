#!/bin/bash
# Tries what a newcomer does: a minimal Debian 12 in a temporary folder, nothing installed, the last commit cloned into
# it, and scripts/test.sh (or the command given) run there. Not part of the tests: needs root, debootstrap and some GiB.
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'EOF'
usage: scripts/fresh.sh [--keep] [COMMAND...]
  --keep    leave the folder for a look; its path is printed
  COMMAND   default: scripts/test.sh
This machine's apt mirror, certificates and npm settings are used in there.
EOF
}

keep=
case "${1-}" in
  --keep) keep=yes && shift ;;
  -*) usage_error "unknown argument '$1'" ;;
esac
[ $# -gt 0 ] || set -- scripts/test.sh
[ "$(id -u)" -eq 0 ] || die "chroot needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"

root=$(mktemp -d "${TMPDIR:-/var/tmp}/wfo-fresh.XXXXXX")
clean_up() {
  umount "$root/proc" 2>/dev/null || true
  if [ -n "$keep" ]; then say "kept $root"; else rm -rf --one-file-system "$root"; fi
}
trap clean_up EXIT

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Component: main' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || die "this machine's apt has no source for bookworm main"
chmod 755 "$root" # apt fetches as a user of its own
say "minimal Debian 12 into $root"
debootstrap --variant=minbase bookworm "$root" "$mirror" >&2
cp --parents --dereference /etc/resolv.conf /etc/hosts "$root"
# Copied only where they are: /usr/local/share/ca-certificates joins the others when ca-certificates gets installed.
for path in /etc/apt/sources.list.d/debian.sources /usr/local/share/ca-certificates /etc/npmrc ~/.npmrc; do
  [ ! -e "$path" ] || cp --parents --recursive --dereference "$path" "$root"
done
[ ! -f "$root/etc/apt/sources.list.d/debian.sources" ] || rm "$root/etc/apt/sources.list"
mount -t proc proc "$root/proc"
git clone --quiet --no-local . "$root/root/workflow-orchestrator"

say "in there: $*"
start=$SECONDS status=0
env --ignore-environment HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} \
  chroot "$root" bash -c 'cd /root/workflow-orchestrator && exec "$@"' bash "$@" || status=$?
say "exit code $status after $((SECONDS - start)) seconds"
exit "$status"
