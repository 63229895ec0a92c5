/usr/bin/setpriv --reuid=64055 --regid=64055 --groups=103 --no-new-privs --bounding-set=-all --inh-caps=-all -- \
  /bin/sh -c 'umask 007; ulimit -c 0; ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -H -n)"; exec "$@"' sh \
  /usr/bin/qemu-system-x86_64 \
  -name guest=01890000-0000-7000-8000-000000000001,debug-threads=on \
  -uuid 01890000-0000-7000-8000-000000000001 \
  -no-user-config \
  -nodefaults \
  -S \
  -no-shutdown \
  -action reboot=reset,shutdown=pause,panic=pause \
  -pidfile /run/guestdeck/01890000-0000-7000-8000-000000000001/pid \
  -msg timestamp=on \
  -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
  -machine pc-q35-10.0,usb=off,vmport=off,dump-guest-core=off,mem-merge=off,memory-backend=ram0 \
  -accel tcg,tb-size=256 \
  -rtc base=utc,driftfix=slew \
  -global ICH9-LPC.disable_s3=1 \
  -global ICH9-LPC.disable_s4=1 \
  -boot strict=on \
  -cpu max \
  -smp cpus=1,sockets=1,cores=1,threads=1 \
  -m 1024M \
  -object '{"qom-type":"memory-backend-memfd","id":"ram0","size":1073741824,"share":true}' \
  -overcommit mem-lock=off \
  -device '{"driver":"pcie-root-port","id":"rp0","bus":"pcie.0","addr":"0x2.0x0","multifunction":true,"chassis":1,"slot":1}' \
  -device '{"driver":"pcie-root-port","id":"rp1","bus":"pcie.0","addr":"0x2.0x1","chassis":2,"slot":2}' \
  -device '{"driver":"pcie-root-port","id":"rp2","bus":"pcie.0","addr":"0x2.0x2","chassis":3,"slot":3}' \
  -device '{"driver":"pcie-root-port","id":"rp3","bus":"pcie.0","addr":"0x2.0x3","chassis":4,"slot":4}' \
  -device '{"driver":"pcie-root-port","id":"rp4","bus":"pcie.0","addr":"0x2.0x4","chassis":5,"slot":5}' \
  -device '{"driver":"pcie-root-port","id":"rp5","bus":"pcie.0","addr":"0x2.0x5","chassis":6,"slot":6}' \
  -device '{"driver":"pcie-root-port","id":"rp6","bus":"pcie.0","addr":"0x2.0x6","chassis":7,"slot":7}' \
  -device '{"driver":"pcie-root-port","id":"rp7","bus":"pcie.0","addr":"0x2.0x7","chassis":8,"slot":8}' \
  -device '{"driver":"pcie-root-port","id":"rp8","bus":"pcie.0","addr":"0x3.0x0","multifunction":true,"chassis":9,"slot":9}' \
  -device '{"driver":"pcie-root-port","id":"rp9","bus":"pcie.0","addr":"0x3.0x1","chassis":10,"slot":10}' \
  -device '{"driver":"VGA","id":"video0","bus":"pcie.0","addr":"0x1"}' \
  -display none \
  -vnc unix:/run/guestdeck/01890000-0000-7000-8000-000000000001/vnc.sock,id=vnc0,display=video0,share=ignore \
  -device '{"driver":"qemu-xhci","id":"usb","bus":"pcie.0","addr":"0xb","p2":15,"p3":15}' \
  -device '{"driver":"usb-tablet","id":"tablet0","bus":"usb.0","port":"1"}' \
  -device '{"driver":"usb-kbd","id":"kbd0","bus":"usb.0","port":"2"}' \
  -netdev '{"type":"user","id":"net0.net","restrict":false}' \
  -device '{"driver":"virtio-net-pci","id":"net0","bus":"rp0","addr":"0x0","netdev":"net0.net","mac":"52:54:00:00:00:01","romfile":""}' \
  -chardev socket,id=serial0.sock,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/ser.sock,server=on,wait=off \
  -device '{"driver":"isa-serial","id":"serial0","chardev":"serial0.sock","index":0}' \
  -chardev socket,id=agent0.sock,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/qga.sock,server=on,wait=off \
  -device '{"driver":"virtio-serial-pci","id":"vser0","bus":"pcie.0","addr":"0x8"}' \
  -device '{"driver":"virtserialport","id":"agent0","bus":"vser0.0","nr":1,"chardev":"agent0.sock","name":"org.qemu.guest_agent.0"}' \
  -object '{"qom-type":"rng-random","id":"rng0.source","filename":"/dev/urandom"}' \
  -device '{"driver":"virtio-rng-pci","id":"rng0","bus":"pcie.0","addr":"0xa","rng":"rng0.source"}' \
  -device '{"driver":"virtio-balloon-pci","id":"balloon0","bus":"pcie.0","addr":"0x9","deflate-on-oom":true,"free-page-reporting":true}' \
  -chardev socket,id=share0.fs,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/fs1.sock \
  -device '{"driver":"vhost-user-fs-pci","id":"share0","bus":"rp1","addr":"0x0","chardev":"share0.fs","tag":"docs"}' \
  -chardev socket,id=share1.fs,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/fs2.sock \
  -device '{"driver":"vhost-user-fs-pci","id":"share1","bus":"rp2","addr":"0x0","chardev":"share1.fs","tag":"share1"}' \
  -fsdev local,id=share2.fs,path=/srv/with,,comma,security_model=mapped-xattr,multidevs=remap,readonly=on \
  -device '{"driver":"virtio-9p-pci","id":"share2","bus":"rp3","addr":"0x0","fsdev":"share2.fs","mount_tag":"share2"}' \
  -fsdev local,id=drop.fs,path=/srv/drop,security_model=mapped-xattr,multidevs=remap \
  -device '{"driver":"virtio-9p-pci","id":"drop","bus":"rp9","addr":"0x0","fsdev":"drop.fs","mount_tag":"drop"}' \
  -device '{"driver":"vmgenid","id":"vmgenid0","guid":"01890000-0000-7000-8000-000000000001"}' \
  -chardev socket,id=mon0,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/qmp.sock,server=on,wait=off \
  -mon chardev=mon0,mode=control \
  -chardev socket,id=mon1,path=/run/guestdeck/01890000-0000-7000-8000-000000000001/qmp2.sock,server=on,wait=off \
  -mon chardev=mon1,mode=control
# first, for share0:
# /usr/bin/unshare --user --map-root-user --net -- /usr/libexec/virtiofsd --socket-path=/run/guestdeck/01890000-0000-7000-8000-000000000001/fs1.sock --shared-dir /srv/share --sandbox=chroot --readonly
# first, for share1:
# /usr/bin/unshare --user --map-root-user --net -- /usr/libexec/virtiofsd --socket-path=/run/guestdeck/01890000-0000-7000-8000-000000000001/fs2.sock --shared-dir '/srv/a,b\c' --sandbox=chroot
