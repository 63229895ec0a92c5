/**
 * For each choice of the catalogue the tests that show it: in a guest that reports it, in QEMU's own word, or, where the
 * test machines lack the hardware, in QEMU's refusal. A test looks whether they exist and speak of the choice.
 */
import type { FamilyId } from '#lib/devices/catalogue.ts'

/**
 * Who says so. `guest`: a booted guest. `qemu`: QEMU when asked, or its effect seen from the host. `plan`: the command
 * line for every captured QEMU, for what a guest cannot see. `refusal`: hardware is absent, so QEMU's or the dashboard's
 * answer to that.
 */
export type Witness = 'guest' | 'qemu' | 'plan' | 'refusal'

export interface Proof {
  readonly by: Witness
  readonly file: string
  /** Title of the test, or what a golden case is about. */
  readonly title: string
}

const from =
  (file: string) =>
  (by: Witness) =>
  (title: string): Proof => ({ by, file, title })

const bus = from('server/spec/bus.int.test.ts')('guest')
const machine = from('server/spec/machine.int.test.ts')('guest')
const drives = from('server/spec/drives-networks.int.test.ts')('guest')
const live = from('server/engine/live.int.test.ts')('guest')
const newer = from('server/spec/newer-devices.int.test.ts')('guest')
const boarding = from('server/spec/machine.int.test.ts')('refusal')
const host = from('server/spec/host-devices.int.test.ts')('refusal')
const checkMachine = from('server/spec/check/machine.test.ts')
const checkBus = from('server/spec/check/bus.test.ts')
const checkNetworks = from('server/spec/check/networks.test.ts')
const golden = (name: string, title: string): Proof => ({
  by: 'plan',
  file: `server/spec/__golden__/${name}.json`,
  title,
})

const ON_Q35 = machine('q35 with everything of the board, its CPUs and its memory')
const ON_PC = drives(
  'pc: a boot menu, PS/2, a TPM of old; IDE on its two cables, SATA on a card, virtio and cards in PCI slots without ports',
)
const KINDS = from('server/spec/normalize.test.ts')('plan')('every guest kind gets defaults that this QEMU can run')
const DISK_OPTIONS = golden(
  'drive-options',
  'What a disk can be told: cache, AIO, discard, zeroes, thread, queues, serial number, errors, limits with bursts.',
)
const BRIDGES = golden(
  'cards-bridge',
  "Cards on bridges of the host: virtio with queues, MTU and the kernel's data path, an emulated one with a rate limit.",
)
const CARDS = drives('every card has its driver, address and MTU, and gets an address from the network')
const CDS = drives('CDs on SATA, SCSI and USB are read, and an empty drive says so')
const WATCHDOG_PAUSE = bus('a watchdog that nobody winds up pauses the guest')
const IN_PLACE = live('what needs no device to come or go changes in place; what fails leaves everything as it was')
const COME_AND_GO = live('a running guest takes and gives back devices as its definition changes, and says so itself')
const ON_BRIDGE = live(
  'a folder and a card on a bridge come and go, and what they need on the host comes and goes with them',
)
const INPUTS = bus('every pointer and keyboard is there, on its bus')

/** By family, then by choice; `*` for all choices of the family, and for families without choices. */
export const EVIDENCE: { readonly [F in FamilyId]: { readonly [choice: string]: readonly Proof[] } } = {
  guest: { '*': [KINDS] },
  accelerator: {
    auto: [from('server/host/host.int.test.ts')('qemu')('comes within a second and a half and agrees with the CPU')],
    kvm: [
      from('server/engine/engine.int.test.ts')('refusal')(
        'KVM that is asked for and cannot be had is an error, never TCG',
      ),
    ],
    tcg: [ON_Q35],
  },
  machine: {
    q35: [ON_Q35],
    pc: [ON_PC],
    microvm: [drives('microvm: disks, CD, network, random numbers and console on a bus of its own, without PCI')],
  },
  firmware: {
    bios: [ON_PC],
    uefi: [machine('without it the same medium boots')],
  },
  secureBoot: {
    on: [
      machine('the guest finds the keys enrolled and Secure Boot on'),
      machine('firmware with enrolled keys refuses an unsigned boot loader'),
    ],
  },
  tpm: {
    none: [checkMachine('plan')('a TPM needs swtpm, and directories without commas')],
    'tpm-crb': [machine('the TPM answers as version 2')],
    'tpm-tis': [ON_PC],
  },
  iommu: {
    none: [golden('bare', 'As little as possible: no network, no helpers, no spare ports.')],
    intel: [machine('the IOMMU puts devices in groups')],
    virtio: [bus('the paravirtual IOMMU is there')],
  },
  bootOrder: {
    on: [
      ON_PC,
      drives('the firmware boots from the network by the cards that have a boot position, in their order'),
      from('server/engine/engine.int.test.ts')('qemu')(
        'the boot order of a running guest changes at once and counts from its next reset',
      ),
    ],
  },
  smbios: { '*': [machine('firmware tells the strings, commas and all')] },
  clock: {
    utc: [checkMachine('plan')('an offset counts from the start, in UTC or in the local time of the host')],
    localtime: [golden('std-localtime', 'Standard VGA, local time, fixed CPU model and machine.')],
  },
  clockOffset: { '*': [machine('the clock is ten years ahead')] },
  hyperv: { on: [boarding('Hyper-V enlightenments are taken by QEMU, or refused by the host')] },
  directKernel: { '*': [ON_Q35] },
  pvpanic: { on: [machine('last of all, a panic of the kernel is told to the host')] },
  generationId: {
    on: [
      from('server/engine/generation.int.test.ts')('guest')(
        'a generation ID is in the guest, and going back to a snapshot makes Linux draw new random numbers',
      ),
    ],
  },
  watchdog: {
    i6300esb: [WATCHDOG_PAUSE],
    itco: [bus('a watchdog that nobody winds up resets the guest')],
  },
  watchdogAction: {
    reset: [bus('a watchdog that nobody winds up resets the guest')],
    pause: [WATCHDOG_PAUSE],
    '*': [checkBus('plan')('the action is the one QEMU is told')],
  },
  spareRootPorts: {
    '*': [drives('conventional PCI cards are plugged into PCIe ports while the guest runs, and out again')],
  },
  cpuModel: {
    auto: [ON_PC],
    named: [machine('the model has the single flags as they were switched')],
  },
  cpuFlags: { '*': [machine('the model has the single flags as they were switched')] },
  cpuCount: {
    '*': [
      machine('three of eight CPUs are there, in sockets of two cores with two threads'),
      COME_AND_GO,
      from('e2e/hotplug.e2e.ts')('guest')(
        'a running guest gets a disk, a network card, a CPU and memory from the page, and says so itself',
      ),
    ],
  },
  topology: { '*': [machine('three of eight CPUs are there, in sockets of two cores with two threads')] },
  pinning: {
    '*': [
      from('server/engine/firmware.int.test.ts')('qemu')(
        'a virtual CPU runs where it was bound; the others wherever there is room',
      ),
    ],
  },
  numa: { '*': [machine('two nodes share CPUs and memory')] },
  memory: { '*': [machine('a DIMM and virtio-mem bring memory, and virtio-mem more when asked')] },
  dimms: { on: [machine('a DIMM and virtio-mem bring memory, and virtio-mem more when asked'), COME_AND_GO] },
  virtioMem: {
    on: [machine('a DIMM and virtio-mem bring memory, and virtio-mem more when asked'), COME_AND_GO],
  },
  hugePages: {
    none: [checkMachine('plan')('huge pages are asked of the host: none, too few, or taken by others')],
    '2M': [boarding('huge pages that are not there end the start, with a message that says so')],
    '1G': [checkMachine('refusal')('huge pages are asked of the host: none, too few, or taken by others')],
  },
  balloon: { on: [machine('the balloon leaves what the target says'), COME_AND_GO] },
  freePageReporting: { on: [machine('free pages are reported to the host')] },
  hostShare: {
    '*': [
      from('server/cgroups/kernel.int.test.ts')('guest')(
        'on a real kernel weights share the processors, and limits of memory and processes hold inside their group alone',
      ),
    ],
  },
  notes: {
    '*': [from('server/spec/injection.test.ts')('plan')('name, description and tags never reach the command line')],
  },

  drive: {
    disk: [drives('what the guest writes it reads back from every disk that can be written')],
    cdrom: [CDS, IN_PLACE],
  },
  diskBus: {
    'virtio-blk': [drives('virtio-blk: on its port, with its queues and serial number')],
    'virtio-scsi': [drives('virtio-scsi: at its target, and one that cannot be written')],
    nvme: [drives('nvme: on its port, with one queue pair besides the administrative one')],
    sata: [drives('sata: on the controller of the mainboard, without write cache as asked')],
    ide: [ON_PC],
    usb: [drives('usb: removable, on its port')],
  },
  cdBus: {
    sata: [CDS],
    ide: [ON_PC],
    'virtio-scsi': [CDS],
    usb: [CDS],
  },
  cache: {
    none: [drives('virtio-blk: on its port, with its queues and serial number')],
    writeback: [drives('virtio-scsi: at its target, and one that cannot be written')],
    writethrough: [drives('sata: on the controller of the mainboard, without write cache as asked')],
    '*': [DISK_OPTIONS],
  },
  aio: {
    native: [drives('virtio-blk: on its port, with its queues and serial number')],
    threads: [golden('linux-bios', 'Installer and blank disk with everything a Linux guest gets by default.')],
    '*': [DISK_OPTIONS],
  },
  discard: {
    unmap: [drives('every disk of virtio, NVMe and SATA takes discards, and what is discarded goes back to the host')],
    ignore: [DISK_OPTIONS],
  },
  detectZeroes: { '*': [DISK_OPTIONS] },
  ioThread: { on: [drives('virtio-blk: on its port, with its queues and serial number'), DISK_OPTIONS] },
  diskQueues: { '*': [drives('virtio-blk: on its port, with its queues and serial number')] },
  diskSerial: { '*': [drives('virtio-blk: on its port, with its queues and serial number')] },
  readOnly: { on: [drives('virtio-scsi: at its target, and one that cannot be written')] },
  shared: {
    on: [
      from('server/engine/shared-disks.int.test.ts')('qemu')(
        'two VMs of one owner run with one disk at once, on any bus; those of another owner have one of their own',
      ),
    ],
  },
  throttle: {
    '*': [drives('limits hold the disk; a burst may exceed them, and lifting them frees it at once'), IN_PLACE],
  },
  werror: { '*': [DISK_OPTIONS] },

  cardModel: {
    '*': [CARDS],
    e1000e: [CARDS, COME_AND_GO],
  },
  network: {
    user: [CARDS],
    bridge: [ON_BRIDGE],
    none: [drives('a card without network and one with its cable out have no carrier; plugging it in gives one')],
  },
  restrict: { on: [from('server/spec/compile.int.test.ts')('qemu')('thirty devices and every port in use')] },
  forwards: {
    tcp: [IN_PLACE],
    udp: [golden('linux-uefi-kvm', 'UEFI under KVM, disk made from a library image (two layers), port forwards.')],
  },
  link: {
    on: [
      drives('a card without network and one with its cable out have no carrier; plugging it in gives one'),
      COME_AND_GO,
    ],
  },
  mac: { '*': [CARDS] },
  netQueues: { '*': [BRIDGES] },
  mtu: { '*': [CARDS] },
  vhost: {
    on: [
      checkNetworks('refusal')('without /dev/vhost-net packets go through QEMU, which is said; nothing aborts'),
      BRIDGES,
    ],
  },
  rateLimit: { '*': [ON_BRIDGE] },

  display: {
    'virtio-vga': [bus('the card has two outputs, the first with a monitor of the chosen size')],
    'virtio-gpu': [bus('the card has three outputs and no VGA part')],
    std: [bus('the standard card shows the chosen size, and has the memory for it')],
    qxl: [bus('everything is where the definition puts it'), bus('one output, memory of the chosen size')],
    ramfb: [bus('a frame buffer without any card shows what UEFI draws, and the guest takes it over')],
    bochs: [bus('the card without VGA is driven by its own driver; a serial port on a PCI card carries the console')],
    none: [
      ON_Q35,
      from('server/spec/compile.int.test.ts')('qemu')('without a display the firmware writes to the serial console'),
    ],
  },
  displayHeads: { '*': [bus('the card has three outputs and no VGA part')] },
  displayResolution: { '*': [bus('the card has two outputs, the first with a monitor of the chosen size')] },
  displayMemory: {
    '*': [
      bus('one output, memory of the chosen size'),
      bus('the standard card shows the chosen size, and has the memory for it'),
    ],
  },
  usbInput: { on: [INPUTS] },
  inputType: {
    '*': [INPUTS],
    multitouch: [newer('virtio-sound and a touch screen are on their buses')],
  },
  inputBus: { '*': [INPUTS, COME_AND_GO] },
  ps2: { on: [ON_PC, machine('there is no PS/2 keyboard or mouse')] },
  usbController: {
    'qemu-xhci': [INPUTS],
    'nec-usb-xhci': [bus('USB alone has a keyboard, on six ports')],
    ehci: [bus('everything is where the definition puts it'), bus('slow USB devices are driven by the companions')],
    uhci: [bus('the standard card shows the chosen size, and has the memory for it')],
    none: [checkBus('plan')('whatever is on USB needs a controller')],
  },
  usbPorts: { '*': [bus('USB alone has a keyboard, on six ports')] },
  sound: {
    none: [golden('bare', 'As little as possible: no network, no helpers, no spare ports.')],
    hda: [bus('the sound card plays and records')],
    ac97: [bus('the sound card is there')],
    'virtio-sound': [newer('virtio-sound and a touch screen are on their buses')],
  },
  clipboard: {
    on: [
      from('server/console/clipboard.int.test.ts')('guest')(
        'text copied by who controls the guest is what the guest pastes',
      ),
      from('e2e/clipboard.e2e.ts')('guest')(
        'text goes from the browser to the guest and back, when its button is pressed',
      ),
    ],
  },

  serial: { on: [ON_Q35] },
  serialDevice: {
    'isa-serial': [ON_Q35],
    'pci-serial': [
      bus('the card without VGA is driven by its own driver; a serial port on a PCI card carries the console'),
    ],
    virtconsole: [bus('the shell of the serial console runs on hvc0')],
  },
  channelDevice: {
    virtserialport: [bus('a socket carries text both ways: %s')],
    virtconsole: [bus('a further virtio console carries a shell'), COME_AND_GO],
    'isa-serial': [bus('a socket carries text both ways: %s')],
  },
  channelBackend: {
    socket: [bus('a socket carries text both ways: %s')],
    log: [bus('a channel that is only kept holds the end of what the guest sent')],
  },
  agentChannel: { on: [bus('the agent answers on port 1 while others are there')] },
  vsock: { on: [host('vsock on a host whose kernel has none')] },
  rng: { on: [ON_PC] },
  shareDriver: {
    virtiofs: [bus('a folder shared by %s is read and written'), ON_BRIDGE],
    '9p': [bus('a folder shared by %s is read and written')],
  },
  hostDevice: {
    'usb-id': [host('QEMU waits for USB devices of the host that are not plugged in')],
    'usb-port': [host('QEMU waits for USB devices of the host that are not plugged in')],
    pci: [host('a PCI device that is not there'), host('a PCI device on a host without IOMMU')],
    mdev: [host('a mediated device that is not there')],
  },
  properties: { '*': [bus('properties set by hand reach the device')] },
  rawArgs: { '*': [golden('raw-args', 'Raw options, after everything else.')] },
}

/** Where the absent hardware is about one thing among others, not about a whole choice. */
export const ABSENT: readonly { readonly what: string; readonly proofs: readonly Proof[] }[] = [
  {
    what: 'Unplugging a CPU: only KVM survives it, so under TCG the change waits for the next start.',
    proofs: [
      COME_AND_GO,
      from('lib/vm/live.test.ts')('plan')(
        'CPUs are taken away only where QEMU survives it, and added up to the maximum of the start',
      ),
    ],
  },
]
