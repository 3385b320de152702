#!/bin/sh
# The first process of a node: gives it a file system view of its own, then holds it open.
#   init.sh STATE BINARIES      (in new mount, process and host-name namespaces)
# Nothing that containerd, the kubelet or the CNI plug-ins write outside STATE reaches the host:
# /run is a new tmpfs, /var/lib and /var/log are folders of STATE.
set -eu
state=$1 binaries=$2
# Still the host's /proc, so this is the number the host knows us by.
read -r host_pid _ </proc/self/stat
mkdir -p "$state/var-lib/kubelet" "$state/var-lib/etcd" "$state/var-log" "$state/node" "$state/bin"
mount --make-rshared /
# In two steps, because the work tree may itself lie below /run or /var.
mount --bind "$state" "$state"
mount --bind "$binaries" "$state/bin"
exec 3<"$state"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/node /run/lock
mount --no-canonicalize --rbind /proc/self/fd/3 /run/node
exec 3<&-
mount --bind /run/node/var-lib /var/lib
mount --bind /run/node/var-log /var/log
mount -t proc proc /proc
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$host_pid" >/run/node/init.pid.new
mv /run/node/init.pid.new /run/node/init.pid
exec /run/node/bin/pause
