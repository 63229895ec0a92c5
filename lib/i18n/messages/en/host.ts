import { defineMessages } from '../../define.ts'

/** The host and its virtualization stack. */
export const host = defineMessages('host', {
  title: 'Host',
  check: 'Check again',
  checking: 'Checking',
  checked: 'checked',
  checkFailed: 'The host was not checked again',
  stack: {
    title: 'The stack, from the guest down',
    guests: 'Guests',
    guestsValue: '{running, plural, =0 {none running} other {# running}} of {count, plural, one {# VM} other {# VMs}}',
    kvmUnused: 'not used',
    state: { ok: 'works', warning: 'limited', failed: 'does not work', unknown: 'not known' },
  },
  verdict: {
    title: 'Hardware acceleration',
    kvm: {
      usable: 'KVM works: guest code really ran under it',
      unusable: 'KVM is there, but cannot run a guest',
      absent: 'There is no KVM',
      denied: 'KVM may not be used',
    },
    auto: 'VMs that leave the choice to the host run on {name}.',
    policy: 'GUESTDECK_ACCEL limits the choice to {name}.',
    evidence: 'Evidence',
    probe: 'The guest-code probe took {ms} ms.',
    step: { ok: 'passed', failed: 'failed', unknown: 'not known', skipped: 'not tried' },
  },
  readiness: {
    title: 'Readiness',
    all: 'Install everything missing',
    copyAll: 'Copy the command that installs everything missing',
    copy: 'Copy the command for {name}',
    required: 'Required',
    optional: 'Optional',
    pickOne: 'One is enough: {group}',
    state: { ok: 'ready', missing: 'missing', broken: 'broken', unknown: 'not known' },
  },
  facts: {
    title: 'System',
    name: 'Name',
    os: 'System',
    kernel: 'Kernel',
    uptime: 'Up for',
    cpu: 'Processor',
    version: 'Guestdeck',
    isolation: 'Isolation',
    connection: 'Connection',
  },
  connection: {
    names: 'For {names}, until {date}.',
    issuer: 'Issued by {issuer}.',
    copyFingerprint: 'Copy the SHA-256 fingerprint',
  },
  capacity: 'Capacity',
})
