#!/bin/bash
# Starts a real systemd as pid 1 of private namespaces (network, mount, pid, cgroup, uts, ipc). Started by private-systemd.ts.
# Everything it writes goes to a tmpfs that ends with it; its cgroups stand in one cgroup of their own, $CGROUP.
#   CGROUP   existing, empty cgroup (v2) of the machine that becomes the root of the private tree
#   SHARED   folder of the machine that is seen inside as /run/lab; its units/ become /etc/systemd/system
#   LAB_BIND blank-separated further folders to be seen inside at their own paths
set -eu
if [ "${1:-}" != inside ]; then
  echo $$ > "$CGROUP/cgroup.procs"
  exec unshare --net --mount --pid --cgroup --uts --ipc --fork --kill-child -- bash "$0" inside
fi

mount --make-rprivate /
mount -t tmpfs -o size=512m,mode=755 mendwall-systemd /mnt
root=/mnt/root
mkdir -p /mnt/upper /mnt/work "$root"
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  : > "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/run/lab"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount --bind "$SHARED" "$root/run/lab"
for folder in $LAB_BIND; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
done
# None of the machine's own services: only what the test brings.
mount -t tmpfs -o mode=755 tmpfs "$root/etc/systemd/system"
cp -r "$SHARED/units/." "$root/etc/systemd/system/"
cp -r "$SHARED/bin/." "$root/usr/bin/"
mkdir -p "$root/var/lib/mendwall"

cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
ip link set lo up
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=lab.target --show-status=no
