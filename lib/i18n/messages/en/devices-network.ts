import { defineMessages } from '../../define.ts'

/** What network choices mean. Families and choices as in `lib/devices/catalogue.ts`. */
export const devicesNetwork = defineMessages('devicesNetwork', {
  cardModel: {
    name: 'Network card',
    what: 'What the guest sees as its card.',
    choices: {
      'virtio-net': {
        name: 'virtio-net',
        what: 'Paravirtual: packets are handed over in batches.',
        needs: 'Linux and BSD have the driver; Windows gets NetKVM from the virtio CD.',
        cost: 'The least host CPU for each packet; the only one with queues and vhost.',
        why: 'Several times faster than any emulated card.',
      },
      e1000e: {
        name: 'Intel e1000e',
        what: 'Emulates the Intel 82574L of 2008.',
        needs: 'Windows 8, Linux 2.6.24, BSD: no extra driver.',
        cost: 'Several exits for each packet: about a tenth of virtio’s speed.',
        why: 'Works in Windows before its virtio driver is there.',
      },
      e1000: {
        name: 'Intel e1000',
        what: 'Emulates the Intel 82540EM of 2001.',
        needs: 'Almost every system; Windows 11 no longer has the driver.',
        cost: 'As e1000e, a little slower.',
        why: 'For systems from before 2010.',
      },
      rtl8139: {
        name: 'Realtek 8139',
        what: 'Emulates a 100 Mbit/s card of 1999.',
        needs: 'Everything since Windows 98.',
        cost: 'The most host CPU for each packet.',
      },
      vmxnet3: {
        name: 'VMware vmxnet3',
        what: 'Emulates VMware’s paravirtual card.',
        needs: 'Guests moved here from VMware, with its tools.',
        cost: 'More than virtio; useful until the guest was moved to it.',
      },
      'usb-net': {
        name: 'USB network adapter',
        what: 'Emulates a USB adapter of about 10 Mbit/s.',
        needs: 'A driver for USB CDC or RNDIS.',
        cost: 'Slow; can be pulled out at any time.',
      },
    },
  },
  network: {
    name: 'Connected to',
    what: 'What the cable leads to.',
    choices: {
      user: {
        name: 'User network',
        what: 'Goes out through the host as an ordinary program would; nothing comes in but port forwards.',
        needs: 'Nothing: no rights, no set-up.',
        cost: 'Packets pass through QEMU: about 1 Gbit/s on one host CPU.',
        why: 'Works everywhere and exposes nothing.',
      },
      bridge: {
        name: 'Bridge of the host',
        what: 'The guest is a machine of its own in the host’s network.',
        needs: 'A bridge on the host that is open to the VM’s project, or an administrator.',
        cost: 'With vhost the least of all; everyone in that network reaches the guest.',
      },
      none: { name: 'Nothing', what: 'A card without cable.' },
    },
  },
  restrict: {
    name: 'Cut off',
    what: 'The guest reaches nothing at all; only port forwards lead in. User network.',
    choices: { on: { name: 'Cut off from everything', what: 'Neither the internet nor the host.' } },
  },
  forwards: {
    name: 'Port forwards',
    what: 'A port of the host’s loopback address that leads to a port of the guest. User network.',
    choices: {
      tcp: { name: 'TCP', what: 'Connections: SSH, web, remote desktop.' },
      udp: { name: 'UDP', what: 'Single packets: DNS, games, VPN.' },
    },
  },
  link: {
    name: 'Cable',
    what: 'Plugged in or not; the guest sees the difference at once.',
    choices: { on: { name: 'Plugged in', what: 'The guest has a link.' } },
  },
  mac: { name: 'Address (MAC)', what: 'Stays with the card, so that the guest finds it again.' },
  netQueues: {
    name: 'Queue pairs',
    what: 'Lets several vCPUs handle packets at once. virtio-net on a bridge.',
  },
  mtu: { name: 'MTU', what: 'The packet size virtio-net tells the guest; empty is 1500.' },
  vhost: {
    name: 'vhost',
    what: 'Packets move in the host’s kernel instead of QEMU.',
    choices: {
      on: {
        name: 'vhost-net',
        what: 'The kernel carries packets between card and bridge.',
        needs: 'virtio-net on a bridge; /dev/vhost-net on the host.',
        cost: 'Half the host CPU for each packet.',
        why: 'Always, where it is there.',
      },
    },
  },
  rateLimit: { name: 'Rate limit', what: 'Kilobytes a second into and out of the guest. Bridge only.' },
})
