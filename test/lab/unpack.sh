#!/bin/bash
# Unpacks Debian packages into a folder for the lab, once, and prints its path:  bash unpack.sh NAME PACKAGE...
#   MENDWALL_LAB_CACHE  where it is kept (default /var/cache/mendwall-lab); may be deleted at any time
# The folder holds what the machine lacks of these packages and of what they need; a private hypervisor is laid over it.
# Goals: firewalls of others run in the lab and are never installed on the machine, where the next boot would start them.
# Guarantees: a folder with the final name is whole (made under another name, then renamed); of several runs at once one
# makes it and the others wait; beside it, in PATH.versions, stands `PACKAGE VERSION` of each package asked for.
# Does not: run the packages' own scripts, or keep the folder up to date with the machine's packages.
set -euo pipefail

cache=${MENDWALL_LAB_CACHE:-/var/cache/mendwall-lab}
name=$1
shift
# Made anew when one of the packages is installed on the machine, or goes from it.
have=$(dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' "$@" 2> /dev/null || true)
root=$cache/unpacked-$name-$(echo "$* $have $(sha256sum < "${BASH_SOURCE[0]}")" | sha256sum | cut -c 1-12)

say() { printf 'unpack %s: %s\n' "$name" "$*" >&2; }

# What apt would install; it only says so. Packages that would have to go for them stay: nothing is installed.
needed() { apt-get install -s -q --no-install-recommends "$@" < /dev/null | awk '$1 == "Inst" { print $2 }'; }

# What Debian 12 has in /lib belongs in /usr/lib: the machine's /lib is a link there.
merge_usr() {
  local folder
  for folder in bin sbin lib lib64; do
    [ -d "$1/$folder" ] || continue
    mkdir -p "$1/usr/$folder"
    cp -a "$1/$folder/." "$1/usr/$folder/"
    rm -r "${1:?}/$folder"
  done
}

version_of() {
  local deb
  for deb in "$2.debs/$1"_*.deb; do
    if [ -e "$deb" ]; then dpkg-deb -f "$deb" Version; else dpkg-query -W -f '${Version}' "$1"; fi
  done
}

make_root() {
  local new=$1 list deb
  shift
  # The lists may be missing, or older than the mirror.
  if ! list=$(needed "$@" 2> /dev/null); then
    apt-get update -q < /dev/null >&2
    list=$(needed "$@")
  fi
  rm -rf "$new" "$new.debs"
  mkdir -p "$new" "$new.debs"
  if [ -n "$list" ]; then
    say "downloading $(wc -l <<< "$list") packages"
    # shellcheck disable=SC2086 # A list of package names.
    (cd "$new.debs" && apt-get download -q $list < /dev/null > "$new.log" 2>&1) || { cat "$new.log" >&2; exit 1; }
    for deb in "$new.debs"/*.deb; do dpkg-deb -x "$deb" "$new"; done
    merge_usr "$new"
  fi
  for deb; do echo "$deb $(version_of "$deb" "$new")"; done > "$root.versions"
  rm -rf "$new.debs" "$new.log"
}

[ ! -d "$root" ] || { echo "$root"; exit; }
mkdir -p "$cache"
exec 9> "$root.lock"
flock 9
[ -d "$root" ] || { make_root "$root.new" "$@" && mv -T "$root.new" "$root"; }
echo "$root"
