#!/bin/bash
# Makes the root folder of a Debian 13 with libvirt 11, once, and prints its path:  bash debian-13.sh
#   MENDWALL_LAB_CACHE  where it is kept (default /var/cache/mendwall-lab); may be deleted at any time
# Goals: the real packages from the mirror that apt uses here, signatures checked; made anew when this file changes.
# Guarantees: a root with the final name is whole (made under another name, then renamed); of several runs at once one
# makes it and the others wait; no service is started; what is mounted is gone when it has ended, however it ends.
# Does not: write into a root that is there, or keep it up to date; install recommended packages.
set -euo pipefail

# As test/setup.sh has them for this machine. libvirt's driver for qemu, which virsh and libvirt-dbus ask for networks too,
# depends on qemu; systemd is there for busctl.
PACKAGES='libvirt-daemon-system libvirt-clients libvirt-dbus dnsmasq-base dbus qemu-system-x86 iptables nftables iproute2
ipset conntrack inotify-tools busybox procps systemd'
cache=${MENDWALL_LAB_CACHE:-/var/cache/mendwall-lab}
root=$cache/trixie-$(sha256sum < "${BASH_SOURCE[0]}" | cut -c 1-12)

say() { printf 'debian 13: %3d s  %s\n' "$((SECONDS + ${LAB_SECONDS:-0}))" "$*" >&2; }

# Asks apt, so every form of its sources is understood. It answers only for lists that were fetched.
mirror() {
  . /etc/os-release
  # shellcheck disable=SC2016 # Not variables of the shell.
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Component: main' \
    | awk -v release="$VERSION_CODENAME" '$1 == release && uri == "" { uri = $2 } END { print uri }'
}

# In a mount and pid namespace of its own: what debootstrap mounts and starts ends with it.
make_root() {
  local new=$1 uri=$2
  mount --make-rprivate /
  say 'debootstrap, the base system'
  local options=(--variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg)
  case $uri in https:*) options+=(--include=ca-certificates) ;; esac
  debootstrap "${options[@]}" trixie "$new" "$uri" > "$log" 2>&1
  mountpoint -q "$new/proc" || mount -t proc proc "$new/proc"
  printf '#!/bin/sh\nexit 101\n' > "$new/usr/sbin/policy-rc.d"
  chmod 755 "$new/usr/sbin/policy-rc.d"
  echo force-unsafe-io > "$new/etc/dpkg/dpkg.cfg.d/lab"
  # How apt reaches the mirror here: proxies, checks of dates.
  apt-config dump | grep -E '^Acquire::(https?::|Check-|ForceIP)' > "$new/etc/apt/apt.conf.d/99lab" || true
  say 'apt-get, libvirt and what it needs'
  # shellcheck disable=SC2086 # A list of package names.
  DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 \
    chroot "$new" apt-get install -y -q --no-install-recommends $PACKAGES >> "$log" 2>&1
  # libvirtd 11.3.0 ends 30 s late when it waits for this driver's thread in vain, as in 2 of 8 restarts soon after a start;
  # networks and guests do without it.
  rm "$new"/usr/lib/*/libvirt/connection-driver/libvirt_driver_nodedev.so
  : > "$new/etc/resolv.conf"
  rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*
}

if [ "${1:-}" = inside ]; then
  log=$2.log
  make_root "$2" "$3"
  exit
fi
[ ! -d "$root" ] || { echo "$root"; exit; }
mkdir -p "$cache"
exec 9> "$root.lock"
flock -n 9 || { say "another run makes $root: waiting"; flock 9; }
[ ! -d "$root" ] || { echo "$root"; exit; }
new=$root.new
rm -rf "$new"
uri=$(mirror)
[ -n "$uri" ] || { apt-get update -q < /dev/null >&2; uri=$(mirror); }
[ -n "$uri" ] || { say 'apt names no Debian mirror'; exit 1; }
say "making $root, once"
# No proxy of apt's is known to debootstrap, which fetches by itself.
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
[ -z "${https_proxy:-}" ] || export https_proxy
# The lock goes along: should only this shell be killed, the next run waits until nothing writes into $new any more.
if ! LAB_SECONDS=$SECONDS unshare --mount --pid --fork --kill-child \
  bash "${BASH_SOURCE[0]}" inside "$new" "$uri" < /dev/null > /dev/null; then
  say "failed; the end of $new.log:"
  tail -n 20 "$new.log" >&2
  exit 1
fi
mv -T "$new" "$root"
say "done, $(du -sm "$root" | cut -f 1) MiB"
echo "$root"
