import { defineMessages } from '../../define.ts'

/** What mainboard, firmware, CPU and memory choices mean. Families and choices as in `lib/devices/catalogue.ts`. */
export const devicesPlatform = defineMessages('devicesPlatform', {
  guest: {
    name: 'Guest system',
    what: 'Which defaults suit the guest. QEMU itself never sees it.',
    choices: {
      linux: { name: 'Linux', what: 'Has every virtio driver: paravirtual devices throughout.' },
      windows: { name: 'Windows', what: 'UEFI, clock in local time, Hyper-V hints; virtio drivers come on a CD.' },
      bsd: { name: 'BSD', what: 'Has virtio drivers for disks and network; plain VGA.' },
      other: { name: 'Other', what: 'Nothing is known about it: cautious choices.' },
    },
  },
  accelerator: {
    name: 'Accelerator',
    what: 'What runs the guest’s instructions.',
    choices: {
      auto: { name: 'Automatic', what: 'KVM where it works on this host, otherwise TCG.', why: 'Always right here.' },
      kvm: {
        name: 'KVM only',
        what: 'The host’s CPU runs the guest itself.',
        needs: 'VT-x or AMD-V and /dev/kvm on the host.',
        cost: 'None; refuses to start where KVM does not work.',
      },
      tcg: {
        name: 'TCG only',
        what: 'QEMU translates every instruction.',
        needs: 'Nothing.',
        cost: 'Ten times slower, and no wall against a hostile guest.',
      },
    },
  },
  machine: {
    name: 'Mainboard',
    what: 'The chipset and its buses. Its version stays until it is upgraded on purpose.',
    choices: {
      q35: {
        name: 'Q35 (PCI Express)',
        what: 'Intel Q35 of 2007 with PCIe, AHCI and a port for every device.',
        needs: 'Any system since Windows Vista and Linux 2.6.',
        cost: 'About 0.1 s of boot time for its PCIe ports.',
        why: 'Devices can be added and removed while the guest runs, one port each.',
      },
      pc: {
        name: 'i440FX (plain PCI)',
        what: 'Intel 440FX of 1996 with PCI and IDE.',
        needs: 'Nothing: even DOS and Windows NT know it.',
        cost: 'No PCIe, no Secure Boot, 15 sockets for devices.',
        why: 'For systems from before 2006 only.',
      },
      microvm: {
        name: 'microvm (no PCI)',
        what: 'Hardly any mainboard: virtio devices on a plain memory bus.',
        needs: 'A Linux kernel with virtio-mmio, usually started directly.',
        cost: 'Boots in a fraction of a second; no graphics card, USB, CD or hotplug.',
      },
    },
  },
  firmware: {
    name: 'Firmware',
    what: 'What runs first and starts the boot loader.',
    choices: {
      bios: {
        name: 'BIOS (SeaBIOS)',
        what: 'Starts fastest and boots almost everything.',
        needs: 'Nothing.',
        cost: 'Disks beyond 2 TiB and Windows 11 do not boot from it.',
        why: 'A second faster, and one file less to keep.',
      },
      uefi: {
        name: 'UEFI (OVMF)',
        what: 'Modern firmware with its own variables, kept per VM.',
        needs: 'A guest of the last ten years; OVMF on the host.',
        cost: 'Some seconds of boot time, 64 MiB of memory.',
        why: 'Windows 11 and Secure Boot ask for it.',
      },
    },
  },
  secureBoot: {
    name: 'Secure Boot',
    what: 'UEFI starts only boot loaders signed by a key it holds.',
    choices: {
      on: {
        name: 'Enforced',
        what: 'Keys of Microsoft and the distribution are enrolled from the first start.',
        needs: 'UEFI, Q35 and a signed boot loader in the guest.',
        cost: 'Unsigned kernels and drivers do not load.',
        why: 'Windows 11 asks for it.',
      },
    },
  },
  tpm: {
    name: 'Security chip (TPM 2.0)',
    what: 'Keeps keys and measures the boot; swtpm plays it, one process per VM.',
    choices: {
      none: { name: 'None', what: 'No security chip.' },
      'tpm-crb': {
        name: 'CRB',
        what: 'The interface that current systems expect.',
        needs: 'Windows 10 or later, Linux 4.12 or later; swtpm on the host.',
        cost: 'A helper process of 5 MiB; its state is part of the VM.',
        why: 'Windows 11 and disk encryption ask for it.',
      },
      'tpm-tis': {
        name: 'TIS',
        what: 'The older interface, on the LPC bus.',
        needs: 'Any system with a TPM driver; swtpm on the host.',
        cost: 'A helper process of 5 MiB; slower than CRB.',
      },
    },
  },
  iommu: {
    name: 'IOMMU in the guest',
    what: 'Lets the guest decide what its devices may reach in its memory: for nested guests and user-space drivers.',
    choices: {
      none: { name: 'None', what: 'Devices reach all of the guest’s memory.', why: 'Hardly any guest needs one.' },
      intel: {
        name: 'Intel VT-d',
        what: 'Emulates the IOMMU of Intel chipsets.',
        needs: 'Q35; a guest that switches it on (intel_iommu=on).',
        cost: 'Every mapping leaves the guest: slower network and disks.',
      },
      virtio: {
        name: 'virtio-iommu',
        what: 'Paravirtual: mappings are sent in batches.',
        needs: 'Linux 5.14 or later.',
        cost: 'Less than VT-d, more than none.',
      },
    },
  },
  bootOrder: {
    name: 'Boot order',
    what: 'Drives and network cards with a position are tried in that order; the boot menu lets you choose.',
    choices: {
      on: { name: 'Offer a boot menu', what: 'The firmware waits three seconds for a key.', cost: 'Three seconds.' },
    },
  },
  smbios: {
    name: 'Maker’s texts (SMBIOS)',
    what: 'What the guest reads as manufacturer, product and serial number, and free strings for its first start.',
  },
  clock: {
    name: 'Hardware clock',
    what: 'What the guest’s battery clock shows.',
    choices: {
      utc: { name: 'UTC', what: 'What Linux and BSD expect.', why: 'These systems add the time zone themselves.' },
      localtime: { name: 'Local time of the host', what: 'What Windows expects.', why: 'Windows would be hours off.' },
    },
  },
  clockOffset: {
    name: 'Clock offset',
    what: 'Seconds added to the clock when the guest is powered on, to try dates that are not today.',
  },
  hyperv: {
    name: 'Hyper-V hints',
    what: 'Tells Windows that it runs on a hypervisor it knows.',
    choices: {
      on: {
        name: 'Hyper-V enlightenments',
        what: 'Windows asks for the time and waits the cheap way.',
        needs: 'Windows, under KVM.',
        cost: 'Less host CPU: an idle Windows drops from 10 % to 1 % of a core.',
        why: 'Saves host CPU and costs nothing.',
      },
    },
  },
  directKernel: {
    name: 'Start a kernel directly',
    what: 'QEMU loads a Linux kernel of the host into memory; no boot loader takes part.',
  },
  pvpanic: {
    name: 'Panic report (pvpanic)',
    what: 'The guest tells the host when its kernel crashed, so that the crash is seen at once.',
    choices: {
      on: {
        name: 'pvpanic',
        what: 'One register that the guest’s kernel writes when it panics.',
        needs: 'Linux with pvpanic; Windows with the driver of the virtio CD.',
        cost: 'None.',
      },
    },
  },
  generationId: {
    name: 'Generation ID (vmgenid)',
    what: 'The guest learns that it is a clone, was restored from a backup or went back to a snapshot.',
    choices: {
      on: {
        name: 'vmgenid',
        what: 'A number that is another one in each clone, after each restore and after going back to a snapshot.',
        needs: 'Linux 5.18 or later (not Debian’s cloud kernel); Windows Server 2012, Windows 8 or later.',
        cost: 'Going back to a snapshot with memory takes a new QEMU, so consoles close for a moment.',
        why: 'Two guests made of one would otherwise draw the same random numbers and keys; a domain controller would hand out the same ids twice.',
      },
    },
  },
  watchdog: {
    name: 'Watchdog',
    what: 'Acts when the guest has not been heard of for a while.',
    choices: {
      i6300esb: {
        name: 'Intel 6300ESB (PCI)',
        what: 'A PCI card that Linux and Windows Server know.',
        needs: 'A watchdog daemon in the guest that feeds it.',
        cost: 'None.',
        why: 'Simple, and its driver is everywhere.',
      },
      itco: {
        name: 'Intel TCO (Q35)',
        what: 'The one the Q35 chipset has built in.',
        needs: 'Q35; a watchdog daemon in the guest.',
        cost: 'None.',
      },
    },
  },
  watchdogAction: {
    name: 'When the watchdog bites',
    what: 'What happens to a guest that has hung.',
    choices: {
      reset: { name: 'Reset', what: 'Presses the reset button.', why: 'What a server in a rack would do.' },
      shutdown: { name: 'Shut down', what: 'Asks by ACPI; a hung guest rarely answers.' },
      poweroff: { name: 'Power off', what: 'Cuts the power.' },
      pause: { name: 'Pause', what: 'Stops the vCPUs, so that someone can look.' },
      'inject-nmi': { name: 'NMI', what: 'Makes a guest prepared for it write a crash dump.' },
      none: { name: 'Only note it', what: 'The event appears in the activity.' },
    },
  },
  spareRootPorts: {
    name: 'Spare sockets',
    what: 'Empty PCIe ports kept for devices added while the guest runs. Q35 only.',
  },
  cpuModel: {
    name: 'CPU model',
    what: 'What the guest sees as its processor.',
    choices: {
      auto: {
        name: 'Automatic',
        what: 'The host’s own CPU under KVM, everything QEMU can translate under TCG.',
        needs: 'Nothing.',
        cost: 'A saved state cannot move to a host with another CPU.',
        why: 'Fastest on this host.',
      },
      named: {
        name: 'A named model',
        what: 'The same on every host that has its features.',
        needs: 'A host with all its features, otherwise they are left out.',
        cost: 'Features beyond the model stay unused.',
      },
    },
  },
  cpuFlags: {
    name: 'CPU features',
    what: 'Single features switched on or off against the model.',
  },
  cpuCount: {
    name: 'CPUs',
    what: 'How many virtual CPUs the guest has, and up to how many can be plugged while it runs.',
  },
  topology: {
    name: 'Sockets, cores and threads',
    what: 'How the CPUs are arranged. Systems licensed by socket look at it; others hardly.',
  },
  pinning: {
    name: 'CPU pinning',
    what: 'Binds virtual CPUs to CPUs of the host, for even response times.',
  },
  numa: {
    name: 'NUMA nodes',
    what: 'Divides CPUs and memory into nodes as on a large server, each on a node of the host if wanted.',
  },
  memory: {
    name: 'Memory',
    what: 'Given when the guest is powered on. Room beyond it is for DIMMs and virtio-mem.',
  },
  dimms: {
    name: 'DIMM',
    what: 'A memory module that can be plugged into the running guest.',
    choices: {
      on: {
        name: 'pc-dimm',
        what: 'Appears in the guest as a memory module, whole.',
        needs: 'ACPI memory hotplug: Linux, Windows Server. Room in the memory maximum.',
        cost: 'Comes out again only when the guest has emptied all of it.',
      },
    },
  },
  virtioMem: {
    name: 'Growing memory (virtio-mem)',
    what: 'Memory that grows and shrinks in small blocks while the guest runs.',
    choices: {
      on: {
        name: 'virtio-mem',
        what: 'A slider from nothing to its size, moved while the guest runs.',
        needs: 'Linux 5.8 or later, or Windows with the driver of the virtio CD. Room in the memory maximum.',
        cost: 'A page table for the maximum; memory in use comes back slowly.',
        why: 'Gives and takes in steps of a few MiB, unlike DIMMs.',
      },
    },
  },
  hugePages: {
    name: 'Huge pages',
    what: 'Takes the guest’s memory from large pages the host has set aside.',
    choices: {
      none: {
        name: 'Ordinary pages',
        what: 'The host gives memory as the guest touches it.',
        why: 'Shares memory best.',
      },
      '2M': {
        name: '2 MiB pages',
        what: 'Fewer steps to find memory: faster for large databases.',
        needs: 'Enough 2 MiB pages reserved on the host.',
        cost: 'All of the memory is taken at the start and not given back; no balloon.',
      },
      '1G': {
        name: '1 GiB pages',
        what: 'For very large guests.',
        needs: '1 GiB pages reserved when the host booted.',
        cost: 'All of the memory is taken at the start, in whole GiB; no balloon.',
      },
    },
  },
  balloon: {
    name: 'Memory balloon',
    what: 'A device in the guest that takes memory from it and gives it back to the host.',
    choices: {
      on: {
        name: 'virtio-balloon',
        what: 'Shows how much the guest has left, and returns what it frees.',
        needs: 'Linux and BSD have the driver, Windows gets it from the virtio CD.',
        cost: 'None while it rests; a guest squeezed too far runs out of memory.',
        why: 'The only view into the guest’s memory.',
      },
    },
  },
  freePageReporting: {
    name: 'Free-page reporting',
    what: 'The guest tells which pages it does not use, and the host takes them back by itself.',
    choices: {
      on: {
        name: 'Return free pages',
        what: 'Memory goes back without anyone moving a slider.',
        needs: 'The balloon; Linux 5.7 or later.',
        cost: 'A little guest CPU when memory is freed.',
        why: 'The host keeps only what the guest uses.',
      },
    },
  },
  hostShare: {
    name: 'Share of the host',
    what: 'What the host’s kernel gives this guest when others want the same, and where it stops.',
  },
  notes: {
    name: 'Name and notes',
    what: 'For people: name, description, tags, and whether the VM starts with the host.',
  },
})
