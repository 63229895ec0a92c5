# refused: sound: QEMU 7.2.22 on this host was built without the device virtio-sound-pci.
