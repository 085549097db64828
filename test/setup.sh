#!/bin/sh
# Sets the machine up for one of the verbs of package.json and runs it, from a fresh clone.
#   sh test/setup.sh demo|test|lab:full|bench|matrix [--yes] [arguments of the verb]
# Guarantees: says what it will install before it does; asks only on a terminal and without --yes; starts no service on
# the host (a policy-rc.d forbids it while apt works; what was there before is put back); needs no standard input.
# Exit: that of the verb; 2 usage or a system it does not know; 7 needs root.
set -eu
cd "$(dirname "$0")/.."

# What the lab must have, here and in CI; the neighbours named there are unpacked for the lab, not installed.
PACKAGES=$(sed -n 's/^package //p' test/lab/required.txt)
POLICY=/usr/sbin/policy-rc.d
KEPT_POLICY=/usr/sbin/policy-rc.d.before-mendwall
MARK='# mendwall: no service is started while its packages are installed'

say() { printf '%s\n' "$*"; }
fail() { code=$1; shift; printf 'mendwall set-up: %s\n' "$*" >&2; exit "$code"; }

VERB=${1:-}
[ $# -eq 0 ] || shift
YES=no
if [ "${1:-}" = --yes ]; then YES=yes; shift; fi
case $VERB in
  demo | test | lab:full | bench | matrix) ;;
  *) fail 2 "unknown verb '$VERB'; one of: demo, test, lab:full, bench, matrix" ;;
esac

# --- what this system can do -----------------------------------------------------------------------------------------

node_major=$(node -p 'process.versions.node.split(".")[0]' 2> /dev/null || echo 0)
[ "$node_major" -ge 20 ] || fail 2 "needs Node 20 or later, found ${node_major}; see https://nodejs.org"

# Why the lab (private hosts with real programs) cannot run here; empty when it can.
lab_obstacle() {
  if [ "$(uname -s)" != Linux ]; then say "it needs Linux, this is $(uname -s)"; return; fi
  system=$(. /etc/os-release 2> /dev/null && say "${ID:-unknown} ${VERSION_ID:-}" || say unknown)
  if [ "$system" != 'debian 12' ]; then say "it is written for Debian 12, this is $system"; return; fi
  if [ "$(id -u)" -ne 0 ]; then say 'it needs root'; return; fi
  unshare --net --mount --pid --fork true 2> /dev/null || say 'namespaces cannot be made here (a container without the right?)'
}

missing_packages() {
  for package in $PACKAGES; do
    # Prints `install ok installed` for what is there; nothing and an error for what dpkg has never heard of.
    [ "$(dpkg-query -W -f '${Status}' "$package" 2> /dev/null || true)" = 'install ok installed' ] || printf '%s ' "$package"
  done
}

npm_is_behind() {
  [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]
}

# --- installing ------------------------------------------------------------------------------------------------------

restore_policy() {
  if [ -e "$KEPT_POLICY" ]; then
    mv -f "$KEPT_POLICY" "$POLICY"
  elif grep -qsxF "$MARK" "$POLICY"; then
    rm -f "$POLICY"
  fi
}

forbid_services() {
  restore_policy # Of a run that was killed.
  trap restore_policy EXIT
  trap 'exit 130' INT TERM HUP
  [ ! -e "$POLICY" ] || mv "$POLICY" "$KEPT_POLICY"
  # 101: action forbidden by policy.
  printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" > "$POLICY"
  chmod 755 "$POLICY"
}

# shellcheck disable=SC2086 # A list of package names.
apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $1 < /dev/null
}

install_packages() {
  forbid_services
  # An image without package lists, or with old ones, is brought up to date; any other needs no update.
  apt_install "$1" || { apt-get update -q < /dev/null && apt_install "$1"; } || fail 1 "apt-get could not install: $1"
  restore_policy
  trap - EXIT INT TERM HUP
}

consent() {
  [ "$YES" = no ] && [ -t 0 ] || return 0
  printf 'Go on? [Y/n] '
  read -r answer || answer=n
  case $answer in '' | y | Y | yes) ;; *) fail 1 'nothing was installed' ;; esac
}

OBSTACLE=$(lab_obstacle)
PACKAGES_TO_GET=
[ -n "$OBSTACLE" ] || PACKAGES_TO_GET=$(missing_packages)
PLAN=
if npm_is_behind; then PLAN='  npm packages, into ./node_modules (npm ci)'; fi
if [ -n "$PACKAGES_TO_GET" ]; then
  PLAN="$PLAN
  Debian packages: $PACKAGES_TO_GET
  (no service is started now; Debian enables libvirtd for the next boot)"
fi

if [ "$VERB" != test ] && [ -n "$OBSTACLE" ]; then
  [ "$OBSTACLE" != 'it needs root' ] || fail 7 "'npm run $VERB' builds a private host out of namespaces: it needs root"
  fail 2 "'npm run $VERB' cannot run here: $OBSTACLE"
fi
if [ -n "$PLAN" ]; then
  say 'mendwall will install:'
  say "$PLAN" | sed '/^$/d'
  consent
  # npm 11 warns about install scripts it does not run (esbuild's): harmless.
  ! npm_is_behind || npm ci --no-audit --no-fund < /dev/null || fail 1 'npm ci failed'
  [ -z "$PACKAGES_TO_GET" ] || install_packages "$PACKAGES_TO_GET"
fi

# --- the verb --------------------------------------------------------------------------------------------------------

# The same program as npm would start; `exec` so that signals reach it.
case $VERB in
  test)
    export LAB_OBSTACLE="$OBSTACLE"
    exec node --import tsx test/run.mts "$@"
    ;;
  lab:full)
    export LAB_OBSTACLE='' LAB_FULL=1
    exec node --import tsx test/run.mts --lab-only "$@"
    ;;
  demo)
    node test/build.mjs
    exec node --import tsx test/demo/demo.mts "$@"
    ;;
  bench)
    node test/build.mjs
    exec node --import tsx test/bench/bench.mts "$@"
    ;;
  matrix)
    node test/build.mjs
    exec node --import tsx test/matrix/matrix.mts "$@"
    ;;
esac
