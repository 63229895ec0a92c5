import { defineMessages } from '../../define.ts'

/** What can be taken out of the disks of a clone. */
export const cleanUp = defineMessages('cleanUp', {
  title: 'Make it a machine of its own',
  note: 'What makes the source one machine is taken out of the disks of the clone before anybody sees it. A small system of libguestfs is started for each clone: some seconds with KVM, about a minute without. Until the last is done the source cannot be started or changed, unless it is a template.',
  operations: 'What is cleaned up',
  hostName: 'Host name',
  hostNameHint: 'Written into the guest; {name} and {index} are filled in. Empty: it stays as it is.',
  none: 'Choose at least one, or give a host name.',
  names: {
    'machine-id': 'Machine ID',
    'ssh-hostkeys': 'SSH host keys',
    'dhcp-client-state': 'DHCP leases',
    'net-hwaddr': 'Fixed hardware addresses',
    'udev-persistent-net': 'Names tied to network cards',
    logfiles: 'Logs',
    'bash-history': 'Shell history',
    'tmp-files': 'Temporary files',
    'mail-spool': 'Mail',
    'ssh-userdir': 'SSH directories of users',
    'package-manager-cache': 'Package cache',
    'rh-subscription-manager': 'Red Hat subscription',
    'lvm-uuids': 'LVM identities',
  },
  notes: {
    'machine-id':
      'Two systems with one ID get the same address from many DHCP servers, and their logs are mixed up. The clone gets a new one.',
    'ssh-hostkeys':
      'With the same keys each can pass for the other. The first start makes new ones (ssh-keygen -A), so clients see an unknown host.',
    'dhcp-client-state': 'Otherwise it asks for the address that the source has.',
    'net-hwaddr': 'Takes HWADDR lines out of network settings: the clone’s cards have addresses of their own.',
    'udev-persistent-net': 'Otherwise the first card of the clone may be called eth1, as another address had eth0.',
    logfiles: 'Empties /var/log of what the source did. What happened there can no longer be looked up in the clone.',
    'bash-history': 'What people typed on the source, for root and every user.',
    'tmp-files': 'Everything in /tmp and /var/tmp.',
    'mail-spool': 'Mail that lies on the source for its users.',
    'ssh-userdir':
      'Keys and known hosts in every home directory, also the keys that let people sign in: without another way in, nobody can.',
    'package-manager-cache': 'Downloaded packages; they are fetched again when they are needed.',
    'rh-subscription-manager': 'The clone must be registered with Red Hat anew to get updates.',
    'lvm-uuids':
      'Lets disks of both be attached to one host. Whoever mounts by these identities must be told the new ones.',
  },
})
