/** Network cards and what they are plugged into. */
import * as z from 'zod'
import { BootIndex, DeviceId, RootPort } from './common.ts'

/** Unicast MAC, lower case. The first octet's multicast bit must be clear. */
export const MacAddress = z
  .string()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, 'unicast MAC address, lower case, for example 52:54:00:12:34:56')

/** One TCP or UDP port of the host's loopback that leads to a port of the guest. */
export const PortForward = z.strictObject({
  protocol: z.enum(['tcp', 'udp']),
  hostPort: z.int().min(1024, 'ports below 1024 are reserved for the host').max(65_535),
  guestPort: z.int().min(1).max(65_535),
})

export const CardModel = z.enum(['virtio-net', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'usb-net'])
export type CardModel = z.output<typeof CardModel>

export const BridgeName = z.string().regex(/^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$/, 'name of a bridge on the host')

export const NetworkCard = z
  .strictObject({
    id: DeviceId,
    model: CardModel,
    mac: MacAddress,
    /**
     * `user`: QEMU's own network, outgoing connections through the dashboard host, no set-up, no privileges.
     * `bridge`: a tap on the host bridge `bridge`, made by the dashboard (root). `none`: a card without cable.
     */
    network: z.enum(['user', 'bridge', 'none']),
    bridge: BridgeName.nullable(),
    /** True: the guest reaches nothing at all, only port forwards lead in. User network. */
    restrict: z.boolean(),
    forwards: z.array(PortForward).max(32),
    /** False: the cable is unplugged. */
    link: z.boolean(),
    /** Boot from this card (PXE); brings the boot ROM. */
    bootIndex: BootIndex,
    /** Queue pairs (virtio-net on a bridge); null: one. */
    queues: z.int().min(1).max(16).nullable(),
    /** MTU virtio-net tells the guest; null: 1500. */
    mtu: z.int().min(576).max(65_535).nullable(),
    /** Packets move in the host's kernel (virtio-net on a bridge, needs /dev/vhost-net). */
    vhost: z.boolean(),
    /** Kilobytes a second into and out of the guest; null: no limit. Bridge only: QEMU's user network has none. */
    rateLimit: z
      .strictObject({
        inKBps: z.int().min(1).max(12_500_000).nullable(),
        outKBps: z.int().min(1).max(12_500_000).nullable(),
      })
      .nullable(),
    /** Of PCI cards; null for usb-net. */
    rootPort: RootPort.nullable(),
    /** USB port of usb-net; null for PCI cards. */
    port: z.int().min(1).max(15).nullable(),
  })
  .meta({ id: 'NetworkCard' })
export type NetworkCard = z.output<typeof NetworkCard>
