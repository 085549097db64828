#!/bin/bash
# Pid 1 of a private hypervisor. Started by namespaces.ts in new net, mount and pid namespaces:
#   unshare --net --mount --pid --fork --kill-child -- bash holder.sh
# Builds a root of its own (tmpfs overlay over $LAB_ROOT), says `ready PID` (its pid as the machine sees it) and
# then reads its standard input to the end. The other end of that pipe is the test process: when that one ends, however
# it ends, the read returns, pid 1 exits, and the kernel takes every process, mount and interface in here with it.
#   LAB_ROOT  folder of the system to be seen inside: / for the machine's own, or another one's root (debian-13.sh)
#   LAB_LAYERS  blank-separated folders (unpack.sh) whose files are laid over it
#   LAB_BIND  blank-separated folders and files that must be seen inside although they may be other file systems
set -eu
# The redirection is opened by this bash, in the machine's /proc: so this is the pid of the outer namespace.
read -r outer_pid _ < /proc/self/stat

mount --make-rprivate /
mount -t tmpfs -o size=1g,mode=755 mendwall-lab /mnt
root=/mnt/root
mkdir -p /mnt/upper /mnt/work "$root"
# Copied, as overlayfs takes no layer that lies inside another one.
for layer in ${LAB_LAYERS:-}; do cp -a "$layer/." /mnt/upper/; done
mount -t overlay overlay -o lowerdir="$LAB_ROOT",upperdir=/mnt/upper,workdir=/mnt/work "$root"
mkdir -p "$root/outer-proc"
mount --rbind /proc "$root/outer-proc"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for path in $LAB_BIND; do
  if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root${path%/*}" && : >> "$root$path"; fi
  mount --bind "$path" "$root$path"
done

# libvirt asks for this name when a guest starts; what no file knows costs 10 s of DNS.
echo "127.0.1.1 $(uname -n)" >> "$root/etc/hosts"

# A hypervisor that knows nothing of this machine's guests, networks or guard: an autostarted guest of a developer's
# machine must not be started a second time on the same disk image. The stock network filters are kept.
mkdir -p /mnt/nwfilter
cp "${LAB_ROOT%/}"/etc/libvirt/nwfilter/*.xml /mnt/nwfilter/ 2> /dev/null || echo 'no stock network filters' >&2
for folder in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/mendwall /var/lib/mendwall; do
  mkdir -p "$root$folder"
  mount -t tmpfs -o mode=755 tmpfs "$root$folder"
done
mkdir -p "$root/etc/libvirt/qemu" "$root/etc/libvirt/hooks" "$root/var/lib/libvirt/dnsmasq" "$root/var/log/libvirt/qemu"
mkdir -p "$root/var/cache/libvirt/qemu" "$root/run/lab" "$root/run/dbus" "$root/run/lock" "$root/run/libvirt"
cp -r /mnt/nwfilter "$root/etc/libvirt/nwfilter"
# The private bus starts nothing by itself: what is not started by a test is not there.
mkdir -p "$root/usr/share/dbus-1/system-services"
mount -t tmpfs -o mode=755 tmpfs "$root/usr/share/dbus-1/system-services"

cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
ip link set lo up
echo "ready $outer_pid"
# bash reaps orphans from its SIGCHLD handler while it waits here, so a daemon that ended is really gone.
while read -r _; do :; done
