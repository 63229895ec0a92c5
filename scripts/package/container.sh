#!/bin/sh
# A Debian with systemd as its first process, in namespaces of its own, over a copy-on-write view of this machine.
# Run as: unshare --mount --pid --fork --net --uts --ipc --propagation private container.sh DIR
set -e
dir=$1
root=$dir/root
mkdir -p "$root" "$dir/upper" "$dir/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
hostname deck
ip link set lo up

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/unified" 2>/dev/null || true
umount "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# Of this machine's own services none starts: no hardware to look after, no network.
systemd=$root/etc/systemd/system
mkdir -p "$systemd"
for unit in systemd-udevd systemd-udev-trigger systemd-networkd systemd-resolved systemd-timesyncd systemd-sysctl \
  systemd-modules-load systemd-remount-fs systemd-random-seed systemd-journal-flush keyboard-setup console-setup \
  networking ifupdown-pre apparmor; do
  ln -sf /dev/null "$systemd/$unit.service"
done
cat > "$systemd/deck-test.target" <<'T'
[Unit]
Requires=basic.target
After=basic.target
AllowIsolate=yes
T
rm -rf "$root/var/log/journal" "$root/var/lib/guestdeck" "$root/etc/fstab"
# Not chroot: the kernel refuses user namespaces, and so bubblewrap, to whoever is in one.
mkdir "$root/run/host"
cd "$root"
pivot_root . run/host
umount -l run/host
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=deck-test.target
