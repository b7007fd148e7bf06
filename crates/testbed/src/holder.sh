# What keeps a simulated host alive: unshare(1) starts a shell in fresh network and mount namespaces, which reads this from
# its standard input. It prepares the private folders, says "ready", and waits until that input ends, which the kernel sees to even
# when the test is killed. Then it ends every process left in the machine.
exec 2>&1
set -e

mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/xen /run/network

# A copy-on-write /etc: the host's files can be read, and everything written stays in the machine.
mount -t tmpfs -o mode=755 etc /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
umount -l /mnt
mkdir -p /etc/xen/scripts

mount -t tmpfs -o mode=755 log /var/log
mkdir /var/log/xen

# sysfs shows the devices of the network namespace it was mounted in.
mount -t sysfs sysfs /sys

# A /dev of our own, because /dev/log must be the machine's.
mount -t tmpfs -o mode=755 dev /mnt
mkdir /mnt/net /mnt/shm /mnt/pts
for node in null zero full random urandom tty net/tun; do
    [ -e "/dev/$node" ] || continue
    : >"/mnt/$node"
    mount --bind "/dev/$node" "/mnt/$node"
done
ln -s /proc/self/fd /mnt/fd
ln -s /proc/self/fd/0 /mnt/stdin
ln -s /proc/self/fd/1 /mnt/stdout
ln -s /proc/self/fd/2 /mnt/stderr
mount --rbind /mnt /dev
umount -l /mnt

ip link set dev lo up
live() {
    echo ready
    read -r _ || true
    # The test itself ($PPID) may have a thread inside.
    for process in /proc/[0-9]*; do
        id=${process#/proc/}
        [ "$id" != "$$" ] && [ "$id" != "$PPID" ] || continue
        if [ "$process/ns/net" -ef "/proc/$$/ns/net" ]; then
            kill -KILL "$id" 2>/dev/null || true
        fi
    done
}
live
