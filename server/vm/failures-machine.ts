/**
 * QEMU's refusals about memory, processors and what its helper programs could not do. Texts of QEMU 7.2 to 11.1
 * (backends/hostmem.c, hw/mem/memory-device.c, target/i386/cpu.c, net/tap-linux.c), swtpm 0.7 and libtpms 0.9, virtiofsd of
 * QEMU 7.2. Helpers' messages stand before QEMU's own, which are mere numbers then.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'

interface MachineRule {
  readonly pattern: RegExp
  explain(match: RegExpExecArray): Pick<VmExit, 'code' | 'summary' | 'advice'>
}

export const MACHINE_RULES: readonly MachineRule[] = [
  {
    pattern: /SWTPM_NVRAM_Lock\w*: Could not lock/,
    explain: () => ({
      code: 'helper-failed',
      summary: "Another program is using this VM's TPM state.",
      advice: 'End the swtpm process that holds it, then start again. Two users at once would destroy it.',
    }),
  },
  {
    pattern: /libtpms\/tpm2: .*(?:Unmarshal|Entering failure mode)|swtpm: .*Could not initialize (?:libtpms|the TPM)/,
    explain: () => ({
      code: 'helper-failed',
      summary: "The TPM's stored state is damaged, or was written by a newer swtpm.",
      advice:
        "Restore it from a backup, or remove the VM's TPM and add it again for an empty one: keys sealed in it are then lost.",
    }),
  },
  {
    pattern: /tpm-emulator: /,
    explain: () => ({
      code: 'helper-failed',
      summary: "QEMU cannot use the VM's TPM.",
      advice: 'The end of its messages, below, says why.',
    }),
  },
  {
    pattern: /^(?:chroot|chdir|pivot_root|open)\(.*\): Permission denied/m,
    explain: () => ({
      code: 'permission-denied',
      summary: 'virtiofsd may not enter the directory of a shared folder.',
      advice:
        'Guests run as users of their own: let everybody read the directory and pass those above it (chmod o+rx).',
    }),
  },
  {
    pattern: /vhost-user-fs.*(?:Failed to (?:read|write) msg|vhost_backend_init failed)/,
    explain: () => ({
      code: 'helper-failed',
      summary: 'virtiofsd, the program that serves a shared folder, gave up.',
      advice: 'The end of its messages, below, says why.',
    }),
  },
  {
    pattern: /unable to map backing store for guest RAM/,
    explain: () => ({
      code: 'out-of-memory',
      summary: 'The host could not give the guest its memory.',
      advice:
        'Give the VM less memory, or shut down other guests first. With huge pages: reserve more of them (sysctl vm.nr_hugepages), or switch them off.',
    }),
  },
  {
    pattern: /cannot bind memory to host NUMA nodes/,
    explain: () => ({
      code: 'host-resource',
      summary: 'The memory is to come from a NUMA node that the host does not have.',
      advice: "Change the host nodes of the VM's NUMA topology.",
    }),
  },
  {
    pattern: /no free slots available|no slots where allocated/,
    explain: () => refused('The machine has no slot left for another memory module.'),
  },
  {
    pattern: /not enough space, currently 0x[0-9a-f]+ in use of total space for memory devices/,
    explain: () => refused('The memory modules and virtio-mem need more room than the most memory the VM may have.'),
  },
  {
    pattern: /(?<who>TCG|Host) doesn't support requested features/,
    explain: ({ groups }) =>
      refused(
        groups?.who === 'TCG'
          ? 'Software emulation does not have every feature that the CPU model demands.'
          : "The host's processor does not have every feature that the CPU model demands.",
      ),
  },
  {
    pattern: /could not configure \/dev\/net\/tun \((?<tap>[^)\n]+)\): Device or resource busy/,
    explain: ({ groups }) => ({
      code: 'host-resource',
      summary: `Another program has the tap ${groups?.tap} of this guest's network card open.`,
      advice: 'End that program, perhaps a QEMU of this VM, then start again.',
    }),
  },
  {
    pattern: /open vhost char device failed: (?<why>.*)|Could not open '\/dev\/vhost-net': (?<why2>.*)/,
    explain: ({ groups }) => ({
      code: 'host-resource',
      summary: /denied|not permitted/.test(groups?.why ?? groups?.why2 ?? '')
        ? 'QEMU may not open /dev/vhost-net, which a network card with vhost needs.'
        : 'The host has no /dev/vhost-net, which a network card with vhost needs.',
      advice: "Load the kernel module vhost_net and let guests open the device, or switch the card's vhost off.",
    }),
  },
]

const refused = (summary: string) => ({
  code: 'bad-option' as const,
  summary,
  advice: "Change the VM's memory or processor settings, then start again.",
})
